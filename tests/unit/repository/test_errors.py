"""The exceptions of the program stand in one tree, by blame, and no two of them have the same name."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "controlplane"
TREE = {"NavarchError", "UserError", "PeerError", "PlatformError", "Bug"}
# What leads from one place of a module to another, and what the engine raises, which knows nothing of this program.
OUTSIDE = {"ReadFailed", "Misuse", "Outdated", "_Abandoned", "_CycleFound", "_InTheWay", "_Missing", "_TooDeep"}


def exceptions() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the name and the bases of each class that is, or may be, an exception of ours."""
    classes = [
        (node.name, frozenset(ast.unparse(base) for base in node.bases))
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    raised = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)}
    while new := {name for name, bases in classes if bases & raised and name not in raised}:
        raised |= new
    yield from ((name, bases) for name, bases in classes if name in raised)


def test_every_exception_stands_below_who_is_to_blame() -> None:
    found = dict(exceptions())
    below = set(TREE)
    while new := {name for name, bases in found.items() if bases & below} - below:
        below |= new

    assert len(found) > 40
    assert set(found) - below == OUTSIDE
    assert {name for name, bases in found.items() if "NavarchError" in bases} == TREE - {"NavarchError"}


def test_no_two_exceptions_have_the_same_name() -> None:
    times = Counter(name for name, _ in exceptions())

    assert [name for name, count in times.items() if count > 1] == []
