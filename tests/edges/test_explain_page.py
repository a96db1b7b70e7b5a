"""The commands of docs/explain.md do what the page says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.cli import navarch
from tests.support.page_commands import commands

ROOT = Path(__file__).parents[2]
WRITTEN = commands((ROOT / "docs" / "explain.md").read_text(), ("navarch",))


def test_there_are_all() -> None:
    assert [line.split()[1] for line in WRITTEN] == ["explain", "explain", "explain", "explain", "authz", "plan", "plan"]


@pytest.mark.parametrize("line", WRITTEN)
def test_it_runs(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    ran = navarch(*shlex.split(line)[1:])

    assert (ran.returncode, ran.stderr) == (2 if " plan " in line else 0, "")
    assert ran.stdout
