"""The state of an authority in a folder: one file, always whole, never readable by anybody else."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.errors import UserError

AUTHORITY_FILE = "authority.json"
WRITE_STEPS = ("locked", "opened", "half written", "written", "synced", "renamed", "folder synced", "unlocked")


class BadFolder(UserError):
    """A folder that may not hold keys; the text says what to do about it."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error that does not say which file it is about (a full disk) name ``path``."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _ignore(point: str) -> None:
    del point


class FileStore:
    """One file of the folder ``root``, written by whoever holds its lock."""

    def __init__(self, root: Path, name: str = AUTHORITY_FILE, reached: Callable[[str], None] = _ignore) -> None:
        """Keep the file ``name``; ``reached`` is called with each of WRITE_STEPS that a write comes to, for tests that end there."""
        self._root = root
        self._path = root / name
        self._reached = reached

    async def read(self) -> bytes | None:
        """Return what is stored, ``None`` if nothing is; raises BadFolder where others can read it, OSError."""
        return await asyncio.to_thread(self.read_now)

    async def write(self, content: bytes, before: bytes | None) -> bool:
        """Store ``content`` if what is stored is ``before``; return whether it was. Raises BadFolder, OSError."""
        return await asyncio.to_thread(self.write_now, content, before)

    def read_now(self) -> bytes | None:
        """Do what ``read`` does, on this thread."""
        self._check(self._root, 0o077)
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(file, "rb") as opened:
            self._check(self._path, 0o077)
            return opened.read()

    def write_now(self, content: bytes, before: bytes | None) -> bool:
        """Do what ``write`` does, on this thread."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check(self._root, 0o077)
        with self._locked():
            self._reached("locked")
            if self.read_now() != before:
                return False
            temporary_file = self._path.with_suffix(".new")
            temporary_file.unlink(missing_ok=True)  # of a writer that was killed
            file = os.open(temporary_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with naming(temporary_file), os.fdopen(file, "wb") as opened:
                self._reached("opened")
                opened.write(content[: len(content) // 2])
                opened.flush()
                self._reached("half written")
                opened.write(content[len(content) // 2 :])
                opened.flush()
                self._reached("written")
                os.fsync(opened.fileno())
                self._reached("synced")
            temporary_file.replace(self._path)
            self._reached("renamed")
            self._sync_folder()
            self._reached("folder synced")
        self._reached("unlocked")
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _sync_folder(self) -> None:
        file = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    @staticmethod
    def _check(path: Path, others: int) -> None:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return
        if stat.S_IMODE(mode) & others:
            raise BadFolder(f"{path} can be read by others: chmod {'700' if stat.S_ISDIR(mode) else '600'} {path}")
