"""The page for those who come from Istio: its table is that of the fields, its commands are there, and its links lead somewhere."""

from __future__ import annotations

import re

from controlplane.cli.main import COMMANDS
from tests.support.fields.from_istio import DOCS, PAGE, written

_TEXT = PAGE.read_text()


def test_its_table_is_made_of_what_comes_of_each_field() -> None:
    assert written(_TEXT) == _TEXT, "run: python -m tests.support.fields.from_istio"
    assert "| [VirtualService](fields.md#virtualservice) |" in _TEXT


def test_each_command_is_there() -> None:
    named = set(re.findall(r"navarch ([a-z-]+)", _TEXT))

    assert named
    assert named <= set(COMMANDS)


def test_each_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", _TEXT)

    assert [link for link in links if not (DOCS / link).exists()] == []
