"""The source ``files``: a folder of manifests, watched. It waits and reads; what that means is decided in ``folder``."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from watchfiles import Change as Notice
from watchfiles import awatch

from controlplane.background import in_background
from controlplane.objects.changes import Change
from controlplane.sources.files import reading
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import ParsedFile, UnreadableFile, parse_file
from controlplane.sources.files.reading import FileState
from controlplane.sources.files.settling import SettlingFiles
from controlplane.sources.source import Noticed

log = logging.getLogger(__name__)

_STEP_MS = 1  # how long nothing may happen before what happened is reported; the default of 50 is what one would wait for
_DEBOUNCE_MS = 20  # and how long it is held back at most while more happens
_ROOT_MS = 1000  # how often the folder itself is looked at: it may be a link that leads somewhere else now
_RESCAN_S = 30.0  # and all files: notices get lost, as the kernel's queue is finite and some file systems send none
_RETRY_S = 1.0
_PROGRESS_S = 2.0
_LARGE = 128 << 10  # bytes: a file from which on changes of others do not wait for it, as it takes a second to read
_MOST_S = 120.0  # that reading one file may take


class FileSource:
    """Reads the manifests below a folder, and again whenever they change."""

    def __init__(self, root: str) -> None:
        """Read below the folder ``root``."""
        self.name = f"files {root}"
        self.noticed = Noticed()
        self._root = os.path.normpath(root)
        self._folder = ManifestFolder()
        self._states: dict[str, FileState] = {}
        self._noted: dict[str, set[Notice]] = defaultdict(set)  # files of which notices have come
        self._settling = SettlingFiles()
        self._rescan = False  # look at all files: a notice was of something else
        self._rescan_at = time.monotonic() + _RESCAN_S
        self._news = asyncio.Event()
        self._large: set[str] = set()  # files to be read beside the others
        self._parsed_large: dict[str, tuple[FileState | None, ParsedFile | None]] = {}  # as each was when it was read
        self._complete = False  # the first look: all there is has been handed on
        self._unreadable: str | None = None  # what keeps it from being so

    def locations(self) -> ManifestFolder:
        """Return what the folder says now, to be asked for problems and lines elsewhere."""
        return self._folder.copy()

    def not_ready(self) -> str | None:
        """Return which file keeps the first look from being complete, ``None`` afterwards: from then on its last good meaning stays."""
        return self._unreadable

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, be it nothing, and from then on what changes; all that is noticed at once in one go."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            await asyncio.sleep(0)  # the watch begins before the first look, so that nothing falls in between
            self._states, self._rescan = {}, True
            deliver(await self._first_changes())
            self._complete = True
            log.info("files synced", extra={"folder": self._root, "files": len(self._states)})
            reading_large: asyncio.Task[None] | None = None
            while True:
                await self._wait()
                if changes := await self._changes():
                    deliver(changes)
                if self._large and (reading_large is None or reading_large.done()):
                    reading_large = tasks.create_task(self._read_large())

    async def _first_changes(self) -> tuple[Change, ...]:
        """Return all there is, as soon as it can be read which objects each file gives.

        What cannot be read may deny something: proxies keep what they have meanwhile, rather than be told that nobody denies it.
        """
        changes = {change.key: change for change in await self._changes(with_large=True)}
        while not self._complete and (found := self._folder.unreadable()) is not None:
            reason = f"{found.location}: {found.problem.message}: it cannot be read which objects it gives"
            if reason != self._unreadable:
                log.error("not ready", extra={"reason": reason})
            self._unreadable = reason
            await self._wait()
            changes.update((change.key, change) for change in await self._changes(with_large=True))
        self._unreadable = None
        return tuple(changes.values())

    async def _wait(self) -> None:
        due = min((due for due in (self._folder.due, self._settling.due) if due is not None), default=None)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _read_large(self) -> None:
        while self._large:
            path = self._large.pop()
            state = self._states.get(path)
            self._parsed_large[path] = state, await in_background(self._read_one, path)
            self._news.set()

    async def _changes(self, *, with_large: bool = False) -> tuple[Change, ...]:
        self._news.clear()
        noted, self._noted = self._noted, defaultdict(set)
        rescan, self._rescan = self._rescan, False
        looks = rescan or bool(noted or self._settling.paths)
        parsed_files = await in_background(self._read, noted, rescan=rescan, with_large=with_large) if looks else {}
        parsed_large, self._parsed_large = self._parsed_large, {}
        # What has changed since is read again, or has been.
        parsed_files |= {path: parsed for path, (state, parsed) in parsed_large.items() if state == self._states.get(path)}
        changes = self._folder.take(parsed_files, time.monotonic())
        if parsed_files:
            log.info("files read", extra={"files": len(parsed_files), "changed": len(changes)})
        return changes

    def _read(self, noted: Mapping[str, set[Notice]], *, rescan: bool, with_large: bool) -> dict[str, ParsedFile | None]:
        before = {path: self._states.get(path) for path in noted}
        try:
            paths = self._paths_to_read(noted.keys() | self._settling.paths, rescan=rescan)
        except OSError as error:
            log.warning("folder cannot be read", extra={"folder": self._root, "reason": str(error)})
            return {}
        if not with_large:  # what is there at the start is not being written
            whole = {path for path, notices in noted.items() if notices == {Notice.added} and self._is_moved_here(path, before[path])}
            paths = self._settling.quiet({path: self._states.get(path) for path in paths}, whole, time.monotonic())
        parsed_files: dict[str, ParsedFile | None] = {}
        logged_at = time.monotonic()
        large = {path for path in paths if path in self._states and self._states[path].size > _LARGE and not with_large}
        self._large = (self._large - paths) | large
        for path in sorted(paths - large):
            parsed_files[path] = self._read_one(path)
            if time.monotonic() - logged_at > _PROGRESS_S:
                logged_at = time.monotonic()
                log.info("reading files", extra={"read": len(parsed_files), "of": len(paths)})
        return parsed_files

    def _is_moved_here(self, path: str, before: FileState | None) -> bool:
        """Return whether the file ``path``, of which nothing was heard but that it is there, was moved over the one of ``before``."""
        state = self._states.get(path)
        return state is not None and before is not None and state.is_another_file(before)

    def _read_one(self, path: str) -> ParsedFile | None:
        text = reading.read_file(self._root, path) if path in self._states else None
        return None if text is None else self._parse(path, text)

    def _parse(self, path: str, text: str | UnreadableFile) -> ParsedFile:
        ends = time.monotonic() + _MOST_S
        try:
            return parse_file(text, self._folder.last_read(path), lambda: time.monotonic() > ends)
        except Exception:  # an internal error; the other files are read all the same
            log.exception("file failed", extra={"file": path})
            return parse_file(UnreadableFile("this file brings out a fault of the control plane, which has logged it"))

    def _paths_to_read(self, noted: set[str], *, rescan: bool) -> set[str]:
        """Return which files to read: those ``noted``, and where more may have changed all that look different now."""
        states = {path: reading.file_state(self._root, path) for path in noted}
        if not rescan and all(state is None or state.plain for state in (*states.values(), *self._states.values())):
            for path, state in states.items():
                if state is None:
                    self._states.pop(path, None)
                else:
                    self._states[path] = state
            return noted
        previous, self._states = self._states, reading.manifest_files(self._root)
        changed = {path for path, state in self._states.items() if previous.get(path) != state}
        return changed | (previous.keys() - self._states.keys()) | (noted & self._states.keys())

    async def _watch(self) -> None:
        polling = False
        while True:
            root = self._identity()
            try:
                async for seen in awatch(
                    root[0],
                    watch_filter=None,
                    step=_STEP_MS,
                    debounce=_DEBOUNCE_MS,
                    rust_timeout=_ROOT_MS,
                    yield_on_timeout=True,
                    force_polling=polling,
                ):
                    if seen or time.monotonic() > self._rescan_at:
                        self._note(root[0], seen)
                    if self._identity() != root:
                        break  # another folder, or a link that leads somewhere else now
            except (OSError, RuntimeError) as error:
                polling = _is_folder(root[0])
                log.warning(
                    "folder is not watched, looked at instead" if polling else "folder is not there",
                    extra={"folder": root[0], "reason": str(error)},
                )
                await asyncio.sleep(_RETRY_S)
            self._note(root[0], ())

    def _identity(self) -> tuple[str, int, int]:
        """Return which folder the root is now."""
        real = os.path.realpath(self._root)
        try:
            state = Path(real).stat()
        except OSError:
            return real, 0, 0
        return real, state.st_dev, state.st_ino

    def _note(self, real: str, seen: Iterable[tuple[Notice, str]]) -> None:
        notices = tuple(seen)
        for notice, path in notices:
            name = Path(path).name
            if name.endswith("~") or (name.startswith(".") and not name.startswith("..")):
                continue  # an editor's draft, which is never read; `..data` is how Kubernetes swaps a mounted ConfigMap
            inner = os.path.relpath(path, real)
            if reading.is_manifest(name) and not any(part.startswith(".") for part in inner.split("/")):
                self._noted[str(Path(self._root, inner))].add(notice)
            else:
                self._rescan = True
        if not notices:
            self._rescan = True
            self._rescan_at = time.monotonic() + _RESCAN_S
        if self._noted or self._rescan:
            self.noticed.note()
            self._news.set()


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()
