"""One file cannot take more than its share: what is beyond it is told, and what the file gave before stays."""

from __future__ import annotations

import pytest

from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import MAX_DOCUMENTS, ParsedFile, parse_file
from tests.support.document_problems import document_problems
from tests.support.manifests import service

MANY = MAX_DOCUMENTS + 1
ITEMS = '{"kind": "List", "items": [' + ",".join(["1"] * MANY) + "]}"


@pytest.mark.parametrize("text", ["---\na\n" * MANY, ITEMS], ids=["documents", "items"])
def test_a_file_of_too_many_documents_is_told_as_one_problem_and_keeps_what_it_gave(text: str) -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": parse_file(service("a"))}, 0)

    changes = folder.take({"a.yaml": parse_file(text)}, 1)

    assert not changes
    [found] = document_problems(folder)
    assert (found.problem.code, found.problem.message.partition(" documents")[0]) == ("Unreadable", f"expected at most {MAX_DOCUMENTS}")


def test_reading_ends_when_it_has_taken_too_long() -> None:
    asked = 0

    def out_of_time() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    parsed: ParsedFile = parse_file("\n---\n".join(service(f"s{number}") for number in range(10)), out_of_time=out_of_time)

    assert parsed.problem is not None
    assert (asked, parsed.entries) == (3, ())
