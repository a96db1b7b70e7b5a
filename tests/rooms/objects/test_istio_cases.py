"""Istio's public validation data against our verdicts, read from ``../shared/cases``; absent, the tests say so."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.documents import documents
from controlplane.objects.parse import parse

CASES = Path(__file__).parents[4] / "shared" / "cases"
OURS = ("VirtualService", "DestinationRule", "ServiceEntry", "WorkloadEntry", "Sidecar")
Json = dict[str, object]

SMALLEST: dict[str, Json] = {
    "VirtualService": {"hosts": ["foo.bar"], "http": [{"route": [{"destination": {"host": "foo.baz"}}]}]},
    "DestinationRule": {"host": "reviews"},
    "ServiceEntry": {"hosts": ["google.com"]},
    "WorkloadEntry": {"address": "1.1.1.1"},
    "Sidecar": {"egress": [{"hosts": ["*/*"]}]},
}
# Verdicts that differ, each with its reason.
_LOST = "its nanoseconds were lost when the case was written down"
EXCEPTIONS = {
    "invalid timeout": _LOST,
    "invalid delay": _LOST,
    "invalid connection pool, bad connect timeout": _LOST,
    "invalid connection pool, bad http2 keepalive interval": _LOST,
    "invalid outlier detection, bad base ejection time": _LOST,
}


def placed(target: str, spec: object) -> Json:
    """Return a whole object, otherwise valid and as small as can be, with ``spec`` at ``target``."""
    kind, _, path = target.partition(".")
    path, _, note = path.partition(" ")
    whole = copy.deepcopy(SMALLEST[kind]) if path else spec
    assert isinstance(whole, dict)
    match path:
        case "":
            pass
        case "http[]":
            whole["http"] = [spec]
            if note == "(delegate)":
                del whole["hosts"]
        case "http[].fault.abort" | "http[].fault.delay":
            part = path.rpartition(".")[2]
            whole["http"] = [{"route": [{"destination": {"host": "a"}}], "fault": {part: spec}}]
        case "http[].redirect" | "http[].directResponse":
            whole["http"] = [{path.rpartition(".")[2]: spec}]
        case "*.destination":
            whole["http"] = [{"route": [{"destination": spec}]}]
        case "tcp[].route":
            whole = {"hosts": ["foo.bar"], "tcp": [{"route": spec}]}
        case _ if path.startswith("http[]."):
            whole["http"] = [{"route": [{"destination": {"host": "a"}}], path.removeprefix("http[]."): spec}]
        case _:
            at = whole
            *parents, last = path.split(".")
            for name in parents:
                below: Json = {}
                at[name] = below
                at = below
            at[last] = spec
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": whole}


def test_verdicts_of_the_validation_cases() -> None:
    path = CASES / "validation" / "cases.json"
    if not path.exists():
        pytest.skip("shared/cases is not here: Istio's validation cases were not run")

    cases = [case for case in json.loads(path.read_text()) if case["target"].startswith(OURS) and case["name"] not in EXCEPTIONS]
    wrong = []
    for case in cases:
        parsed = parse(placed(case["target"], case["spec"]))
        if (parsed.object is not None) is not case["valid"]:
            wrong.append((case["target"], case["name"], case["valid"], [(p.field, p.message) for p in parsed.problems]))

    print(f"{len(cases)} cases, {len(EXCEPTIONS)} exceptions")
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("folder", ["api", "istio"])
def test_verdicts_of_the_crd_documents(folder: str) -> None:
    files = sorted((CASES / "crd-validation" / folder).glob("*.yaml"))
    if not files:
        pytest.skip("shared/cases is not here: Istio's CRD documents were not run")

    count, wrong = 0, []
    for file in files:
        for document in documents(file.read_text()):
            data = dict(document.data or {})
            if data.get("kind") not in OURS:
                continue
            count += 1
            refused = data.pop("_err", None)
            parsed = parse(data)
            if (parsed.object is None) is not (refused is not None):
                wrong.append((file.name, document.line, refused, [p for p in parsed.problems if p.severity is Severity.ERROR]))

    print(f"{count} documents")
    assert count
    assert not wrong, "\n".join(map(str, wrong))
