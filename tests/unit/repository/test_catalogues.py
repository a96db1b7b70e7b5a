"""The catalogues of docs/protocol.md and docs/threats.md: each id that code, tests or docs mention has one row, with tests that exist.

Ids are written as in the catalogues, or in lower case in the name of a test and at the beginning of a parameter's id.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
PAGES = {"XP": ROOT / "docs" / "protocol.md", "T": ROOT / "docs" / "threats.md", "S": ROOT / "docs" / "threats.md"}
ROW = re.compile(r"^\| (XP-\d\d|T\d{1,2}|S\d\d) \| (.+) \| (.+) \|\n", re.MULTILINE)
WRITTEN = re.compile(r"\b(?:XP-\d\d|T\d{1,2}|S\d\d)\b(?!:\d)")  # 12T00:00 is a time
NAME = re.compile(r'(?:\bdef |")((?:test_|[st]\d)\w+)')
IN_NAME = re.compile(r"(?<=_)(?:xp_\d\d|t\d{1,2}|s\d\d)(?=_)")
COMMENT = re.compile(r"^ *#.*", re.MULTILINE)


def rows() -> Iterator[tuple[Path, str, str]]:
    """Yield each row of the catalogues: its page, its id, and the cell of its tests."""
    for page in dict.fromkeys(PAGES.values()):
        for found in ROW.finditer(page.read_text()):
            yield page, found[1], found[3]


def ids_in(text: str) -> set[str]:
    """Return the ids that a piece of a module or of a page mentions."""
    in_names = chain.from_iterable(IN_NAME.findall(f"_{name}") for name in NAME.findall(text))
    return set(WRITTEN.findall(text)) | {each.upper().replace("_", "-") for each in in_names}


def mentioned(path: Path) -> set[str]:
    """Return the ids that the file mentions: a page outside the rows of its catalogue, a YAML file in its comments."""
    text = path.read_text()
    match path.suffix:
        case ".md":
            text = ROW.sub("", text)
        case ".yaml":
            text = "\n".join(COMMENT.findall(text))
    return ids_in(text)


def heads(path: Path) -> dict[str, str]:
    """Return the functions of the module: the lines from the first decorator to the docstring."""
    text = path.read_text()
    functions = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = text.splitlines()
    found = {}
    for each in functions:
        first = min([each.lineno, *(decorator.lineno for decorator in each.decorator_list)])
        last = each.body[0].end_lineno if ast.get_docstring(each) is not None else each.body[0].lineno - 1
        found[each.name] = "\n".join(lines[first - 1 : last])
    return found


def mistake(test: str, id_: str) -> str | None:
    """Return what is wrong with ``test`` (FILE or FILE::FUNCTION below tests/) in the row of ``id_``."""
    file, _, function = test.partition("::")
    path = TESTS / file
    if not path.is_file():
        return f"{id_}: there is no tests/{file}"
    if not function:
        return None if id_ in mentioned(path) else f"{id_}: tests/{file} does not mention it"
    head = heads(path).get(function)
    if head is None:
        return f"{id_}: tests/{file} has no {function}"
    return None if id_ in ids_in(head) else f"{id_}: {function} does not mention it"


def test_every_id_that_is_mentioned_has_a_row_and_no_row_is_unused() -> None:
    catalogue = {id_ for _, id_, _ in rows()}
    where: dict[str, str] = {}
    for folder in ("controlplane", "tests", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".md", ".yaml"}:
                where |= dict.fromkeys(mentioned(path), str(path.relative_to(ROOT)))

    assert {id_: path for id_, path in where.items() if id_ not in catalogue} == {}
    assert catalogue - set(where) == set()


def test_every_id_has_one_row_in_the_page_of_its_kind_and_in_order() -> None:
    ids = [id_ for _, id_, _ in rows()]
    kinds = {id_: re.sub(r"-?\d+$", "", id_) for id_ in ids}

    assert [id_ for id_, times in Counter(ids).items() if times > 1] == []
    assert [id_ for page, id_, _ in rows() if page != PAGES[kinds[id_]]] == []
    assert sorted(ids, key=lambda id_: (list(PAGES).index(kinds[id_]), int(re.sub(r"\D", "", id_)))) == ids


def test_the_tests_that_a_row_names_are_there_and_mention_its_id() -> None:
    named = [(test, id_) for _, id_, cell in rows() for test in re.findall(r"`([^`]+)`", cell)]

    assert {id_ for _, id_ in named} == {id_ for _, id_, _ in rows()}
    assert [wrong for test, id_ in named if (wrong := mistake(test, id_))] == []


def test_ids_are_found_in_texts_and_in_names_alone() -> None:
    text = f'def test_t{3}_s{14}_x() -> None:\n    """T{9}: at 2026-12-01T{10}:00."""\n    s{12}_other = "s{11}_y"  # noqa: S{101}\n'

    assert ids_in(text) == {f"T{3}", f"S{14}", f"T{9}", f"S{11}"}
    assert ids_in(f"XP-{54}, test_xp_{55}_no_definition") == {f"XP-{54}"}
