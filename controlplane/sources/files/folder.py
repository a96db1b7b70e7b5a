"""What a folder of manifests means, as a fold over what was read of its files: pure, the clock is an argument.

A mistake never takes away more than itself: a document that cannot be used leaves its last good meaning, and a file with a document that
cannot be read keeps the objects that it gave before. What is new counts at once; what is gone is believed when it has been so for a moment,
as a file that is being written looks like one that lost its end. Of an object in two files, the file that is first by path counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.changes import Change
from controlplane.objects.locations import LocatedProblem, Location
from controlplane.objects.parse import Object
from controlplane.sources.files.manifest import ParsedDocument, ParsedFile

# A shell's `>` empties the file before the command that fills it has begun to write.
EMPTY_FILE_DELAY_S = 1.0
# Some editors move the old file away before they write the new one; some programs write a file bit by bit.
REMOVAL_DELAY_S = 0.05


@dataclass(frozen=True, slots=True)
class _ObjectInUse:
    """An object that a file gives, and the document it was read from last without a mistake."""

    object: Object
    entry: ParsedDocument


@dataclass(slots=True)
class _FileObjects:
    sheet: ParsedFile = field(default_factory=ParsedFile)
    given: Mapping[Key, _ObjectInUse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _DelayedRemoval:
    """What became of a file, to be believed at ``due``; with new changes that may be put off, but not beyond ``latest``."""

    due: float
    latest: float
    sheet: ParsedFile | None
    emptied: bool = False


class ManifestFolder:
    """The objects that a set of files gives, by what was read of each."""

    def __init__(self) -> None:
        """Begin with no files."""
        self._files: dict[str, _FileObjects] = {}
        self._held: dict[str, _DelayedRemoval] = {}
        self._holders: dict[Key, set[str]] = {}
        self._current: dict[Key, Object] = {}

    @property
    def due(self) -> float | None:
        """Return when ``take`` has to be called next though nothing was read, or ``None``."""
        return min((held.due for held in self._held.values()), default=None)

    def copy(self) -> ManifestFolder:
        """Return the folder as it is now, to be asked for problems and places elsewhere, while this one goes on."""
        copied = ManifestFolder()
        copied._files = dict(self._files)
        copied._holders = {key: set(paths) for key, paths in self._holders.items()}
        return copied

    def sheet(self, path: str) -> ParsedFile | None:
        """Return what ``path`` was taken to say last."""
        return self._files[path].sheet if path in self._files else None

    def take(self, sheets: Mapping[str, ParsedFile | None], now: float) -> tuple[Change, ...]:
        """Take in what was read of some files, ``None`` for one that is gone, and return what changes by it at ``now``."""
        touched: set[Key] = set()
        for path, sheet in sheets.items():
            held = self._hold(path, sheet, self._held.pop(path, None), now)
            if held is None:
                touched |= self._put(path, sheet)
                continue
            self._held[path] = held
            if sheet is not None and not sheet.empty:
                touched |= self._put(path, sheet, keep=True)
        for path in [path for path, held in self._held.items() if held.due <= now]:
            touched |= self._put(path, self._held.pop(path).sheet)
        return tuple(self._changes(touched))

    def problems(self) -> tuple[LocatedProblem, ...]:
        """Return what is wrong with the files and with each document of them, by file and line."""
        return tuple(each for path in sorted(self._files) for each in self._problems(path))

    def location(self, key: Key, path: str) -> Location | None:
        """Return where the field ``path`` of the object ``key`` stands, or ``None`` for an object of no file."""
        holders = self._holders.get(key)
        if not holders:
            return None
        name = min(holders)
        file = self._files[name]
        entry = file.sheet.given().get(key) or file.given[key].entry
        return Location(name, entry.line_of(path))

    def _hold(self, path: str, sheet: ParsedFile | None, before: _DelayedRemoval | None, now: float) -> _DelayedRemoval | None:
        """Return until when objects are kept that ``path`` gave and no more gives as it reads now, or ``None`` if there are none."""
        file = self._files.get(path)
        if file is None or not file.given.keys() - (_objects_in_use(file.given, sheet) if sheet else {}).keys():
            return None
        latest = before.latest if before else now + EMPTY_FILE_DELAY_S
        emptied = (sheet is not None and sheet.empty) or (before is not None and before.emptied and sheet is not None)
        return _DelayedRemoval(latest if emptied else min(now + REMOVAL_DELAY_S, latest), latest, sheet, emptied)

    def _put(self, path: str, sheet: ParsedFile | None, *, keep: bool = False) -> set[Key]:
        file = self._files.get(path) or _FileObjects()
        before = file.given
        if sheet is None:
            self._files.pop(path, None)
            after: Mapping[Key, _ObjectInUse] = {}
        else:
            after = {**(before if keep else {}), **_objects_in_use(before, sheet)}
            self._files[path] = _FileObjects(sheet, after)
        for key in before.keys() - after.keys():
            self._holders[key].discard(path)
            if not self._holders[key]:
                del self._holders[key]
        for key in after.keys() - before.keys():
            self._holders.setdefault(key, set()).add(path)
        return set(before) | set(after)

    def _changes(self, touched: set[Key]) -> Iterator[Change]:
        for key in sorted(touched):
            holders = self._holders.get(key)
            now = self._files[min(holders)].given[key].object if holders else None
            if now is None:
                if self._current.pop(key, None) is not None:
                    yield Change(key, None)
            elif self._current.get(key) != now:
                self._current[key] = now
                yield Change(key, now)

    def _problems(self, path: str) -> Iterator[LocatedProblem]:
        file = self._files[path]
        if file.sheet.problem is not None:
            yield LocatedProblem(file.sheet.problem, Location(path, 1))
        counted = file.sheet.given()
        for entry in file.sheet.entries:
            for problem in entry.parsed.problems:
                yield LocatedProblem(problem, Location(path, entry.line_of(problem.field)))
            key = entry.parsed.key
            if key is not None and entry.counts and (other := self._other(path, key, entry, counted)):
                message = f"{other} gives this object too, which is used instead: names are unique"
                yield LocatedProblem(
                    Problem(key, "", Severity.WARNING, "Duplicate", message), Location(path, entry.line_of("metadata.name"))
                )

    def _other(self, path: str, key: Key, entry: ParsedDocument, counted: Mapping[Key, ParsedDocument]) -> Location | None:
        if counted[key] is not entry:
            return Location(path, counted[key].line_of("metadata.name"))
        first = min(self._holders.get(key, {path}))
        return self.location(key, "metadata.name") if first < path else None


def _objects_in_use(before: Mapping[Key, _ObjectInUse], sheet: ParsedFile) -> Mapping[Key, _ObjectInUse]:
    """Return what a file gives that gave ``before`` and now reads as ``sheet``."""
    after: dict[Key, _ObjectInUse] = {}
    for key, entry in sheet.given().items():
        if entry.parsed.object is not None:
            after[key] = _ObjectInUse(entry.parsed.object, entry)
        elif key in before:
            after[key] = before[key]
    if not sheet.whole:
        after.update({key: given for key, given in before.items() if key not in after})
    return after
