"""What one file gives: its documents, each as an object or as Problems. Pure and slow enough to be done in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.documents import Document, documents
from controlplane.objects.parse import Parsed, parse


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is there and may not, or cannot, be read: why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of a file: what it says, and where it stands."""

    parsed: Parsed
    document: Document  # without its data: only its text and lines are needed from here on
    whole: Document  # the same text as one document: all items of a List share it, and so its table of lines

    @property
    def counts(self) -> bool:
        """Return whether this can be read and is meant to be an object that we use: one, or one with a mistake in it."""
        return self.document.problem is None and (self.parsed.object is not None or self.quarantined)

    @property
    def quarantined(self) -> bool:
        """Return whether a mistake keeps the object from being used."""
        return any(each.severity is Severity.ERROR for each in self.parsed.problems)

    def line_of(self, field: str) -> int:
        """Return the line of ``field`` in the file, from 1."""
        if self.document.problem is not None:
            return self.document.line_of(field)
        return self.whole.line_of(".".join(part for part in (self.document.prefix, field) if part))


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file as it was read last."""

    entries: tuple[Entry, ...] = ()
    problem: Problem | None = None  # of the file as a whole
    empty: bool = False  # nothing at all in it, as a shell's ``>`` leaves it for a moment

    @property
    def whole(self) -> bool:
        """Return whether every document of it can be read."""
        return self.problem is None and all(each.parsed.key is not None and each.document.problem is None for each in self.entries)

    def given(self) -> Mapping[Key, Entry]:
        """Return its documents that are meant to be objects of ours, by key; of two with the same key the first."""
        found: dict[Key, Entry] = {}
        for each in self.entries:
            if each.parsed.key is not None and each.counts:
                found.setdefault(each.parsed.key, each)
        return found


def sheet(found: str | Refused, before: Sheet | None = None) -> Sheet:
    """Return what the text ``found`` of a file gives; what it says again in the same words as ``before`` is not parsed again."""
    if isinstance(found, Refused):
        return Sheet(problem=Problem(None, "", Severity.ERROR, "Unreadable", found.reason))
    known = {(each.document.text, each.document.prefix): each.parsed for each in before.entries} if before else {}
    return Sheet(tuple(_entries(found, known)), empty=not found.strip())


def _entries(text: str, known: Mapping[tuple[str, str], Parsed]) -> Iterator[Entry]:
    whole: Document | None = None
    for document in documents(text):
        if whole is None or whole.text is not document.text:
            whole = replace(document, data=None, prefix="", problem=None)
        yield Entry(known.get((document.text, document.prefix)) or _parsed(document), replace(document, data=None), whole)


def _parsed(document: Document) -> Parsed:
    if document.problem is not None:
        return Parsed(document.problem.object, problems=(document.problem,))
    return parse(document.data or {})
