"""What a folder of manifests means, as a fold over what was read of its files: pure, the clock is an argument.

A mistake never takes away more than itself: a document that cannot be used leaves its last good meaning (one of security its closed form),
and a file with a document that cannot be read keeps the objects that it gave before. What is new counts at once; what is gone is believed
when it has been so for a moment, as a file that is being written looks like one that lost its end. Of an object in two files, the file that
is first by path counts.
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
    """An object of a file, and the document from which it was read last without a mistake."""

    object: Object
    entry: ParsedDocument


@dataclass(slots=True)
class _FileObjects:
    parsed: ParsedFile = field(default_factory=ParsedFile)
    objects: Mapping[Key, _ObjectInUse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _DelayedRemoval:
    """A file as it reads now, whose missing objects are removed at ``due``; new changes may put that off, but not beyond ``latest``."""

    due: float
    latest: float
    parsed_file: ParsedFile | None
    emptied: bool = False


class ManifestFolder:
    """The objects that a set of files gives, by what was read of each."""

    def __init__(self) -> None:
        """Begin with no files."""
        self._files: dict[str, _FileObjects] = {}
        self._removals: dict[str, _DelayedRemoval] = {}
        self._holders: dict[Key, set[str]] = {}
        self._current: dict[Key, Object] = {}
        self._copy: ManifestFolder | None = None

    @property
    def due(self) -> float | None:
        """Return when ``take`` has to be called next though nothing was read, or ``None``."""
        return min((removal.due for removal in self._removals.values()), default=None)

    def copy(self) -> ManifestFolder:
        """Return the folder as it is now, to be asked for problems and places elsewhere: one and the same until something is taken in."""
        if self._copy is None:
            self._copy = copied = ManifestFolder()
            copied._files = dict(self._files)
            copied._holders = {key: set(paths) for key, paths in self._holders.items()}
        return self._copy

    def last_read(self, path: str) -> ParsedFile | None:
        """Return ``path`` as it was read last."""
        return self._files[path].parsed if path in self._files else None

    def take(self, parsed_files: Mapping[str, ParsedFile | None], now: float) -> tuple[Change, ...]:
        """Take in what was read of some files, ``None`` for one that is gone, and return what changes by it at ``now``."""
        touched: set[Key] = set()
        self._copy = None
        for path, parsed_file in parsed_files.items():
            removal = self._removal_of(path, parsed_file, self._removals.pop(path, None), now)
            if removal is None:
                touched |= self._replace_objects(path, parsed_file)
                continue
            self._removals[path] = removal
            if parsed_file is not None and not parsed_file.empty:
                touched |= self._replace_objects(path, parsed_file, keep=True)
        for path in [path for path, removal in self._removals.items() if removal.due <= now]:
            touched |= self._replace_objects(path, self._removals.pop(path).parsed_file)
        return tuple(self._changes(touched))

    def unreadable(self) -> LocatedProblem | None:
        """Return the first file or document of which it cannot be read which objects it gives, so that some may be of security."""
        for path in sorted(self._files):
            parsed_file = self._files[path].parsed
            if parsed_file.problem is not None:
                return LocatedProblem(parsed_file.problem, Location(path, 1))
            for entry in parsed_file.entries:
                if (problem := entry.unreadable) is not None:
                    return LocatedProblem(problem, Location(path, entry.line_of(problem.field)))
        return None

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield what is wrong with each file as a whole and with each document of it, by file and line."""
        for path in sorted(self._files):
            file = self._files[path]
            if file.parsed.problem is not None:
                yield (LocatedProblem(file.parsed.problem, Location(path, 1)),)
            for entry in file.parsed.entries:
                yield tuple(self._problems(path, file, entry))

    def location(self, key: Key, path: str) -> Location | None:
        """Return where the field ``path`` of the object ``key`` stands, or ``None`` for an object of no file."""
        holders = self._holders.get(key)
        if not holders:
            return None
        name = min(holders)
        file = self._files[name]
        entry = file.parsed.documents_by_key.get(key) or file.objects[key].entry
        return Location(name, entry.line_of(path))

    def _removal_of(
        self, path: str, parsed_file: ParsedFile | None, previous: _DelayedRemoval | None, now: float
    ) -> _DelayedRemoval | None:
        """Return until when objects are kept that ``path`` gave and no more gives as it reads now, or ``None`` if there are none."""
        file = self._files.get(path)
        if file is None or not file.objects.keys() - (_objects_in_use(file.objects, parsed_file) if parsed_file else {}).keys():
            return None
        latest = previous.latest if previous else now + EMPTY_FILE_DELAY_S
        emptied = (parsed_file is not None and parsed_file.empty) or (previous is not None and previous.emptied and parsed_file is not None)
        return _DelayedRemoval(latest if emptied else min(now + REMOVAL_DELAY_S, latest), latest, parsed_file, emptied)

    def _replace_objects(self, path: str, parsed_file: ParsedFile | None, *, keep: bool = False) -> set[Key]:
        file = self._files.get(path) or _FileObjects()
        objects_before = file.objects
        if parsed_file is None:
            self._files.pop(path, None)
            objects_after: Mapping[Key, _ObjectInUse] = {}
        else:
            objects_after = {**(objects_before if keep else {}), **_objects_in_use(objects_before, parsed_file)}
            self._files[path] = _FileObjects(parsed_file, objects_after)
        for key in objects_before.keys() - objects_after.keys():
            self._holders[key].discard(path)
            if not self._holders[key]:
                del self._holders[key]
        for key in objects_after.keys() - objects_before.keys():
            self._holders.setdefault(key, set()).add(path)
        return set(objects_before) | set(objects_after)

    def _changes(self, touched: set[Key]) -> Iterator[Change]:
        for key in sorted(touched):
            holders = self._holders.get(key)
            in_use = self._files[min(holders)].objects[key].object if holders else None
            if in_use is None:
                if self._current.pop(key, None) is not None:
                    yield Change(key, None)
            elif self._current.get(key) != in_use:
                self._current[key] = in_use
                yield Change(key, in_use)

    def _problems(self, path: str, file: _FileObjects, entry: ParsedDocument) -> Iterator[LocatedProblem]:
        for problem in entry.parsed.with_consequence:
            yield LocatedProblem(problem, Location(path, entry.line_of(problem.field)))
        key = entry.parsed.key
        in_use = file.objects.get(key) if key is not None else None
        if fate := entry.parsed.fate(in_use.object if in_use else None):
            yield LocatedProblem(fate, Location(path, entry.line_of("")))
        if key is not None and entry.counts and (other := self._place_in_use(path, key, entry, file.parsed.documents_by_key)):
            message = f"{other} gives this object too, which is used instead: names are unique"
            yield LocatedProblem(Problem(key, "", Severity.WARNING, "Duplicate", message), Location(path, entry.line_of("metadata.name")))

    def _place_in_use(self, path: str, key: Key, entry: ParsedDocument, used: Mapping[Key, ParsedDocument]) -> Location | None:
        if used[key] is not entry:
            return Location(path, used[key].line_of("metadata.name"))
        first = min(self._holders.get(key, {path}))
        return self.location(key, "metadata.name") if first < path else None


def _objects_in_use(objects_before: Mapping[Key, _ObjectInUse], parsed_file: ParsedFile) -> Mapping[Key, _ObjectInUse]:
    """Return what a file gives that gave ``objects_before`` and now reads as ``parsed_file``."""
    objects_after: dict[Key, _ObjectInUse] = {}
    for key, entry in parsed_file.documents_by_key.items():
        before = objects_before.get(key)
        usable = entry.parsed.usable(before.object if before else None)
        if before is not None and usable is before.object:
            objects_after[key] = before
        elif usable is not None:
            objects_after[key] = _ObjectInUse(usable, entry)
    if not parsed_file.whole:
        objects_after.update({key: in_use for key, in_use in objects_before.items() if key not in objects_after})
    return objects_after
