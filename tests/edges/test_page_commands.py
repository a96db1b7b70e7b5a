"""Commands of pages that need nothing to run: they do it as they are written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.cli import navarch
from tests.support.page_commands import commands

DOCS = Path(__file__).parents[2] / "docs"
ALONE = ("translate", "iptables")
WRITTEN = [(page.name, line) for page in sorted(DOCS.glob("*.md")) for line in commands(page.read_text()) if line.split()[1] in ALONE]


def test_there_are_some() -> None:
    assert [name for name, _ in WRITTEN] == ["gateways.md", "injection.md"]


@pytest.mark.parametrize("line", [line for _, line in WRITTEN])
def test_it_runs(line: str) -> None:
    ran = navarch(*shlex.split(line)[1:])

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout
