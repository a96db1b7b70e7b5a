"""What is made of every case is what its ``out.yaml`` says."""

from __future__ import annotations

import pytest

from controlplane.mesh.snapshot import SECTIONS
from tests.support.translate_cases import FOLDER, Case, cases


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    made = case.made()

    assert made == case.expected.read_text(), "if this is what is wanted: make golden, and read the difference"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_case_says_why_it_exists(case: Case) -> None:
    first = (FOLDER / case.name / "in.yaml").read_text().splitlines()[0]

    assert first.startswith("# ")
    assert not first.startswith("# show:")
    assert set(case.show) <= set(SECTIONS)


def test_every_expectation_belongs_to_a_case() -> None:
    orphans = [path.parent.name for path in FOLDER.glob("*/out.yaml") if not (path.parent / "in.yaml").exists()]

    assert orphans == []
