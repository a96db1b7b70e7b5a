"""Names are the field's own: words that were retired stay out, and the glossary names modules that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "controlplane"
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()

# Metaphors, riddles, and words that stood for several things. What each was is called now: docs/glossary.md.
RETIRED = frozenset(
    (
        *("asked", "asker", "asking", "book", "books", "came", "contact", "door", "doors", "doubts", "each"),
        *("entangled", "entrance", "entrances", "gather", "given", "guard", "held", "inherits", "judge", "keeper"),
        *("kept", "learn", "letting", "meet", "odd", "owes", "pace", "said", "scrub", "scrubbed", "seer", "seers"),
        *("sheet", "sheets", "shelf", "shelves", "shown", "told", "towards", "vault", "viewer", "went", "world"),
    )
)


def words(name: str) -> list[str]:
    """Return the words of ``name``, be it written in snake case or in camel case."""
    return re.findall(r"[a-z0-9]+|[A-Z]+(?![a-z])", re.sub(r"([A-Z][a-z]+)", lambda word: f"_{word[1].lower()}", name))


def names() -> Iterator[tuple[str, str]]:
    """Yield where each file, class and function of the package stands, and its name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = str(path.relative_to(ROOT))
        if path.stem.endswith("_pb2"):
            continue
        yield where, path.stem
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{where}:{node.lineno}", node.name


def test_retired_words_are_in_no_name_of_a_file_a_class_or_a_function() -> None:
    back = [f"{where}: {name}" for where, name in names() if RETIRED.intersection(words(name))]

    assert back == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [("let_in", ["let", "in"]), ("_Held", ["held"]), ("HttpServer", ["http", "server"]), ("seen_by_seer", ["seen", "by", "seer"])],
)
def test_a_name_is_divided_into_its_words(name: str, parts: list[str]) -> None:
    assert words(name) == parts


def test_the_glossary_has_25_to_40_terms_in_alphabetical_order() -> None:
    terms = re.findall(r"^\| \*\*([^*]+)\*\*", GLOSSARY, re.MULTILINE)

    assert 25 <= len(terms) <= 40
    assert terms == sorted(terms, key=str.lower)


def test_every_module_that_the_glossary_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", GLOSSARY)

    assert [name for name in named if not (PACKAGE / name).is_file()] == []
