"""What one file gives: its documents, each as an object or as Problems. Pure and slow enough to be done in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.parse import ParsedObject, parse
from controlplane.objects.reading.documents import Document, document_parts, documents_of_part

MAX_DOCUMENTS = 20_000  # of one file, items of Lists among them
_TOO_MANY = f"expected at most {MAX_DOCUMENTS} documents in one file, items of Lists among them; divide it into several files"


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that is there and may not, or cannot, be read: why."""

    reason: str


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """One document of a file: what it says, and where it stands."""

    parsed: ParsedObject
    document: Document  # without its data: only its text and lines are needed from here on
    whole: Document  # the same text as one document: all items of a List share it, and so its table of lines

    @property
    def counts(self) -> bool:
        """Return whether this can be read and is meant to be an object that we use: one, or one with a mistake in it."""
        return self.document.problem is None and (self.parsed.object is not None or self.quarantined)

    @property
    def quarantined(self) -> bool:
        """Return whether a mistake keeps the object from being used."""
        return any(problem.severity is Severity.ERROR for problem in self.parsed.problems)

    @property
    def unreadable(self) -> Problem | None:
        """Return why it cannot be read which object this is, ``None`` where it can, or where this is meant to be none."""
        if self.document.problem is not None:
            return self.document.problem
        return None if self.parsed.identified else self.parsed.problems[0]

    def line_of(self, field: str) -> int:
        """Return the line of ``field`` in the file, from 1."""
        if self.document.problem is not None:
            return self.document.line_of(field)
        return self.whole.line_of(".".join(part for part in (self.document.prefix, field) if part))


@dataclass(frozen=True)
class ParsedFile:
    """One file as it was read last."""

    entries: tuple[ParsedDocument, ...] = ()
    problem: Problem | None = None  # of the file as a whole
    empty: bool = False  # nothing at all in it, as a shell's ``>`` leaves it for a moment

    @property
    def whole(self) -> bool:
        """Return whether every document of it can be read."""
        return self.problem is None and all(document.parsed.key is not None and document.unreadable is None for document in self.entries)

    @cached_property
    def documents_by_key(self) -> Mapping[Key, ParsedDocument]:
        """Return its documents that are objects of kinds that are read, by key; of two with the same key the first."""
        documents: dict[Key, ParsedDocument] = {}
        for document in self.entries:
            if document.parsed.key is not None and document.counts:
                documents.setdefault(document.parsed.key, document)
        return documents


def parse_file(text: str | UnreadableFile, before: ParsedFile | None = None, out_of_time: Callable[[], bool] = lambda: False) -> ParsedFile:
    """Return what the ``text`` of a file gives; a part of it that stood in ``before`` too, anywhere, is not read again.

    A file with more than it may have, or one that it takes too long to read, gives nothing: what it gave before stays.
    """
    if isinstance(text, UnreadableFile):
        return _unreadable(text.reason)
    if text.count("\n---") > MAX_DOCUMENTS:  # told without looking at each
        return _unreadable(_TOO_MANY)
    unchanged: dict[str, list[ParsedDocument]] = {}
    for document in before.entries if before else ():
        unchanged.setdefault(document.whole.text, []).append(document)
    entries: list[ParsedDocument] = []
    for entry in _parsed_documents(text, unchanged):
        entries.append(entry)
        if len(entries) > MAX_DOCUMENTS:
            return _unreadable(_TOO_MANY)
        if out_of_time():
            return _unreadable(f"this file takes too long to read: {len(entries)} documents were read; divide it into several files")
    return ParsedFile(tuple(entries), empty=not text.strip())


def _unreadable(reason: str) -> ParsedFile:
    return ParsedFile(problem=Problem(None, "", Severity.ERROR, "Unreadable", reason))


def _parsed_documents(text: str, unchanged: Mapping[str, Sequence[ParsedDocument]]) -> Iterator[ParsedDocument]:
    for part, offset in document_parts(text):
        if documents := unchanged.get(part):
            first = documents[0].document.offset
            yield from (_moved(document, offset - first) for document in documents if document.document.offset == first)
        else:
            yield from _parse_part(part, offset)


def _parse_part(part: str, offset: int) -> Iterator[ParsedDocument]:
    whole: Document | None = None
    for document in documents_of_part(part, offset):
        whole = whole or replace(document, data=None, prefix="", problem=None, problem_line=0)
        problem = document.problem
        parsed = parse(document.data or {}) if problem is None else ParsedObject(problem.object, problems=(problem,))
        yield ParsedDocument(parsed, replace(document, data=None), whole)


def _moved(entry: ParsedDocument, lines: int) -> ParsedDocument:
    return ParsedDocument(entry.parsed, _moved_document(entry.document, lines), _moved_document(entry.whole, lines)) if lines else entry


def _moved_document(document: Document, lines: int) -> Document:
    problem_line = document.problem_line + lines if document.problem else 0
    return replace(document, line=document.line + lines, problem_line=problem_line, offset=document.offset + lines)
