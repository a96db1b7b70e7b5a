"""The files of a folder and their text, under guard: nothing outside the folder, nothing but regular files of a bounded size."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from controlplane.sources.files.manifest import UnreadableFile

MAX_BYTES = 20 << 20
_MAX_FOLDERS = 64  # below each other
_SUFFIXES = (".yaml", ".yml", ".json")
# Without O_NONBLOCK the open of a FIFO waits for somebody to write to it.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of a folder: by what it is seen to have changed, and whether its own notices tell all about it."""

    signature: tuple[int, ...]
    size: int  # bytes
    plain: bool  # neither reached by a symbolic link nor itself anything but a file

    def is_another_file(self, before: FileState) -> bool:
        """Return whether this is not the file that was there ``before``, but one in its place."""
        return self.signature[:2] != before.signature[:2]


def is_manifest(name: str) -> bool:
    """Return whether a file called ``name`` is to be read: YAML or JSON, not hidden, not an editor's copy."""
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def manifest_files(root: str) -> dict[str, FileState]:
    """Return the manifests below the folder ``root`` by path, and what two paths lead to under the first of them."""
    real = os.path.realpath(root)
    seen: set[tuple[int, int]] = set()
    with os.scandir(root):
        pass  # a folder that cannot be read is not an empty one
    return dict(_walk(root, real, seen, 0, linked=False))


def file_state(root: str, path: str) -> FileState | None:
    """Return the state of the one file ``path`` below ``root``, or ``None`` where there is no such file."""
    try:
        state = Path(path).stat()
        direct = os.path.realpath(path) == str(Path(os.path.realpath(root), os.path.relpath(path, root)))
        return FileState(_signature(state), state.st_size, plain=direct and stat.S_ISREG(state.st_mode))
    except OSError:
        return None


def read_file(root: str, path: str) -> str | UnreadableFile | None:
    """Return the text of the file ``path`` below the folder ``root``, ``None`` where there is none, or why it is not read."""
    try:
        data = _content(os.path.realpath(root), os.path.realpath(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        return UnreadableFile(f"expected a file that can be read: {error.strerror or type(error).__name__}")
    return data if isinstance(data, UnreadableFile) else decode_utf8(data)


def decode_utf8(data: bytes) -> str | UnreadableFile:
    """Return ``data`` as text, or why it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return UnreadableFile(f"expected UTF-8 text; byte {error.start} is not")


def _walk(folder: str, real_root: str, seen: set[tuple[int, int]], depth: int, *, linked: bool) -> Iterator[tuple[str, FileState]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        by_link = linked or entry.is_symlink()
        try:
            state = entry.stat()
            is_folder = stat.S_ISDIR(state.st_mode)
        except OSError:
            continue  # a link to nothing, or gone meanwhile
        identity = (state.st_dev, state.st_ino)
        if identity in seen or not (is_folder or is_manifest(entry.name)):
            continue
        seen.add(identity)
        if not is_folder:
            yield os.path.normpath(entry.path), FileState(_signature(state), state.st_size, plain=not by_link)
        elif depth < _MAX_FOLDERS and (not by_link or _is_below(os.path.realpath(entry.path), real_root)):
            yield from _walk(entry.path, real_root, seen, depth + 1, linked=by_link)


def _signature(state: os.stat_result) -> tuple[int, ...]:
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _content(root: str, path: str) -> bytes | UnreadableFile:
    if not _is_below(path, root):
        return UnreadableFile("expected a file within the folder; this link leads out of it")
    descriptor = _open(root, os.path.relpath(path, root))
    if isinstance(descriptor, UnreadableFile):
        return descriptor
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        state = os.fstat(descriptor)
        if state.st_size > MAX_BYTES:
            return UnreadableFile(f"expected a file of at most {MAX_BYTES} bytes, found {state.st_size}")
        parts: list[bytes] = []
        size = 0
        while part := file.read(1 << 20):  # a file may grow while it is read
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                return UnreadableFile(f"expected a file of at most {MAX_BYTES} bytes")
        return b"".join(parts)


def _open(root: str, path: str) -> int | UnreadableFile:
    """Open the regular file ``path`` below ``root`` one name at a time, so that nothing on the way can become a link in between."""
    *folders, name = path.split("/")
    directory = os.open(root, _FLAGS | os.O_DIRECTORY)
    try:
        for folder in folders:
            subdirectory = os.open(folder, _FLAGS | os.O_DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = subdirectory
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return UnreadableFile("expected a regular file")  # the mere open of a device can do something
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return UnreadableFile("expected a regular file")
    finally:
        os.close(directory)
