"""``docs/analysis.md`` against what is told: each code of Istio's that has an equal here is brought about, and every one has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"\| (IST\d{4}) \w+ \|([^|]*)\|([^|]*)\|")


class Row(NamedTuple):
    """A row of the page: Istio's code, ours, and the test that brings it about."""

    istio: str
    ours: tuple[str, ...]
    test: Path | None


def rows() -> list[Row]:
    text = (ROOT / "docs" / "analysis.md").read_text()
    found = [(code, re.findall(r"`(\w+)`", ours), re.findall(r"`([\w./]+)`", test)) for code, ours, test in ROW.findall(text)]
    return [Row(code, tuple(ours), ROOT / tests[0] if tests else None) for code, ours, tests in found]


def told(file: Path) -> set[str]:
    """Return the codes of what is wrong with the objects in ``file``, and between them."""
    parsed = [parse(dict(document.data or {})) for document in documents(file.read_text())]
    mesh = Mesh()
    for_mesh, _ = split([Change(each.key, each.object) for each in parsed if each.key])
    mesh.apply(for_mesh)
    return {problem.code for each in parsed for problem in each.problems} | {problem.code for problem in mesh.problems()}


@pytest.mark.parametrize("row", [row for row in rows() if row.ours], ids=lambda row: row.istio)
def test_a_code_with_an_equal_is_told_where_istio_tells_it(row: Row) -> None:
    assert row.test is not None
    if row.test.suffix == ".yaml":
        assert told(row.test).issuperset(row.ours)
    else:
        assert all(f'"{code}"' in row.test.read_text() for code in row.ours)


def test_every_code_has_an_equal() -> None:
    codes = [row.istio for row in rows()]

    assert codes == sorted(set(codes))
    assert [row.istio for row in rows() if not row.ours] == []
