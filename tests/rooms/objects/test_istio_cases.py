"""Istio's public validation data against our verdicts, read from ``../shared/cases``; absent, the tests say so."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.kinds import KINDS
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents

CASES = Path(__file__).parents[4] / "shared" / "cases"
# The version of each of Istio's kinds that is read.
READ = {kind: f"{group}/{each.versions[0]}" for (group, kind), each in KINDS.items() if group.endswith("istio.io")}
Json = dict[str, object]

SMALLEST: dict[str, Json] = {
    "VirtualService": {"hosts": ["foo.bar"], "http": [{"route": [{"destination": {"host": "foo.baz"}}]}]},
    "DestinationRule": {"host": "reviews"},
    "ServiceEntry": {"hosts": ["google.com"]},
    "WorkloadEntry": {"address": "1.1.1.1"},
    "Sidecar": {"egress": [{"hosts": ["*/*"]}]},
    "Gateway": {"servers": [{"hosts": ["foo.bar.com"], "port": {"name": "http", "number": 80, "protocol": "HTTP"}}]},
}
# Verdicts that differ, each with its reason.
_LOST = "its nanoseconds were lost when the case was written down"
EXCEPTIONS = {
    "invalid timeout": _LOST,
    "invalid delay": _LOST,
    "invalid connection pool, bad connect timeout": _LOST,
    "invalid connection pool, bad http2 keepalive interval": _LOST,
    "invalid outlier detection, bad base ejection time": _LOST,
    "dry run annotation not supported": "its annotation was lost when the case was written down",
    "tracing with a nil custom tag": "its null was lost when the case was written down",
    "happy k8s gateway-api server with no attached routes": "what marks it as made from the Gateway API was lost: by hand, ~/ is refused",
    "mutual more than 2 certs": "the schema of Istio's CRD takes two at most, and so do we",
    "invalid-presence-value": "the field is not in Istio's CRDs yet: it is told as unknown",
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
            whole["http"] = [{"route": [{"destination": {"host": "a"}}], "fault": {path.rpartition(".")[2]: spec}}]
        case "http[].redirect" | "http[].directResponse":
            whole["http"] = [{path.rpartition(".")[2]: spec}]
        case "servers[]" | "servers[].port" | "servers[].tls":
            whole["servers"] = [_server(path, spec)]
        case "*.destination":
            whole["http"] = [{"route": [{"destination": spec}]}]
        case "tcp[].route":
            whole = {"hosts": ["foo.bar"], "tcp": [{"route": spec}]}
        case _ if path.startswith("http[]."):
            whole["http"] = [{"route": [{"destination": {"host": "a"}}], path.removeprefix("http[]."): spec}]
        case _:
            _put(whole, path, spec)
    return {"apiVersion": READ[kind], "kind": kind, "metadata": {"name": "x"}, "spec": whole}


def _server(path: str, spec: object) -> object:
    match path:
        case "servers[].port":
            return {"hosts": ["foo.bar.com"], "port": spec}
        case "servers[].tls":
            return {"hosts": ["foo.bar.com"], "port": {"name": "https", "number": 443, "protocol": "HTTPS"}, "tls": spec}
        case _:
            return spec


def _put(at: Json, path: str, spec: object) -> None:
    *parents, last = path.split(".")
    for name in parents:
        below: Json = {}
        at[name] = below
        at = below
    at[last] = spec


def test_verdicts_of_the_validation_cases() -> None:
    path = CASES / "validation" / "cases.json"
    if not path.exists():
        pytest.skip("shared/cases is not here: Istio's validation cases were not run")

    cases = [case for case in json.loads(path.read_text()) if case["name"] not in EXCEPTIONS]
    count, wrong = Counter(case["target"].partition(".")[0] for case in cases), []
    for case in cases:
        if case["target"].partition(".")[0] not in READ:
            continue
        parsed = parse(placed(case["target"], case["spec"]))
        if (parsed.object is not None) is not (case["valid"] is not False):  # null: accepted with a warning
            wrong.append((case["target"], case["name"], case["valid"], [(p.field, p.message) for p in parsed.problems]))

    told(count, "cases")
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("folder", ["api", "istio"])
def test_verdicts_of_the_crd_documents(folder: str) -> None:
    files = sorted((CASES / "crd-validation" / folder).glob("*.yaml"))
    if not files:
        pytest.skip("shared/cases is not here: Istio's CRD documents were not run")

    count, wrong = verdicts(files)

    told(count, "documents")
    assert count
    assert not wrong, "\n".join(wrong)


def test_everything_in_the_samples_and_configs_is_valid() -> None:
    files = [file for folder in ("samples", "configs") for file in sorted((CASES / folder).rglob("*.yaml"))]
    if not files:
        pytest.skip("shared/cases is not here: Istio's samples and configs were not run")

    count, wrong = verdicts(files)

    told(count, "objects")
    assert count
    assert not wrong, "\n".join(wrong)


def objects(files: list[Path]) -> Iterator[tuple[str, Json]]:
    """Yield where each object of Istio's kinds in ``files`` stands, and the object."""
    for file in files:
        for document in documents(file.read_text()):
            data = dict(document.data or {})
            if "istio.io/" in str(data.get("apiVersion")):
                yield f"{file.name}:{document.line}", data


def verdicts(files: list[Path]) -> tuple[Counter[str], list[str]]:
    """Return how many objects of each kind are in ``files``, and those whose verdict is not the one that ``_err`` asks for."""
    count, wrong = Counter[str](), []
    for where, data in objects(files):
        kind, name = str(data.get("kind")), metadata.get("name") if isinstance(metadata := data.get("metadata"), dict) else None
        if name in EXCEPTIONS:
            continue
        count[kind] += 1
        refused = data.pop("_err", None)
        if kind in READ:
            parsed = parse(data)
            if (parsed.object is None) is not (refused is not None):
                wrong.append(f"{where}: {refused} {[p for p in parsed.problems if p.severity is Severity.ERROR]}")
    return count, wrong


def told(count: Counter[str], what: str) -> None:
    """Print how many of ``what`` were run of each kind."""
    for kind, number in sorted(count.items()):
        print(f"{kind}: {number} {what}{'' if kind in READ else ' NOT RUN: the kind is not read'}")
