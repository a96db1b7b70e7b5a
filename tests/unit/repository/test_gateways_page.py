"""docs/gateways.md: its command runs, and what it names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlplane.cli.main import app

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "gateways.md").read_text()


def test_the_command_of_the_page_prints_what_the_gateway_of_the_example_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [line] = [line.strip() for line in PAGE.splitlines() if line.startswith("    navarch ")]

    ran = CliRunner().invoke(app, shlex.split(line)[1:])

    assert ran.exit_code == 0, ran.output
    assert [each for each in ("127.0.0.12_8080", "http.8080", "outbound|8080||web.default") if each not in ran.output] == []


def test_the_page_names_only_what_is_there() -> None:
    links = re.findall(r"\]\(([\w-]+\.md)\)", PAGE)
    paths = re.findall(r"`(examples/[\w./-]+)`", PAGE)

    assert links
    assert [each for each in links if not (ROOT / "docs" / each).exists()] == []
    assert [each for each in paths if not (ROOT / each).exists()] == []
