"""Istio's public validation data against our verdicts, read from ``../shared/cases``; absent, the tests say so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents
from tests.support.istio_cases import CASES, EXCEPTIONS, READ, Json, placed


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
