"""Where tests stand: helpers in ``tests/support``, one way to wait, no test that another one imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[2]
PROGRAMS = ("support", "bench")  # tests/bench is a program of its own: make bench


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of the tests, by its path."""
    for path in sorted(TESTS.rglob("*.py")):
        yield path.relative_to(TESTS).as_posix(), ast.parse(path.read_text())


def imported(module: ast.Module) -> Iterator[str]:
    """Yield the names that ``module`` imports, in full."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_helpers_stand_in_support() -> None:
    files = [path for path, _ in modules() if path.partition("/")[0] not in PROGRAMS]

    helpers = [path for path in files if not Path(path).name.startswith("test_") and Path(path).name != "conftest.py"]

    assert helpers == []
    assert len(files) > 150


def test_no_module_imports_a_test() -> None:
    wrong = [
        f"{path}: {name}"
        for path, module in modules()
        for name in imported(module)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]

    assert wrong == []


def test_what_tests_use_of_the_demo_comes_by_way_of_support() -> None:
    wrong = [
        f"{path}: {name}"
        for path, module in modules()
        if not path.startswith(("support/", "unit/demo/"))
        for name in imported(module)
        if name.startswith("controlplane.demo")
    ]

    assert wrong == []


def test_there_is_one_until() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)

    places = [path for path, module in modules() for node in ast.walk(module) if isinstance(node, functions) and node.name == "until"]

    assert places == ["support/waiting.py"]
