"""Manifests read once, for commands that ask about them without serving them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from controlplane.objects.changes import Change
from controlplane.sources.files import reading
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import ParsedFile, UnreadableFile, parse_file

STDIN = "-"


def read_manifests(paths: Iterable[str], stdin: BinaryIO) -> tuple[ManifestFolder, tuple[Change, ...]]:
    """Return what ``paths`` give, each a manifest, a folder of them, or ``-`` for ``stdin``; raises OSError for one that is not there."""
    parsed_files: dict[str, ParsedFile | None] = {}
    for path in dict.fromkeys(paths):
        if path == STDIN:
            parsed_files["standard input"] = parse_file(_bounded_text(stdin))
        elif Path(path).is_dir():
            for file_path in reading.manifest_files(path):
                text = reading.read_file(path, file_path)
                parsed_files[file_path] = None if text is None else parse_file(text)
        else:
            with Path(path).open("rb") as file:  # the operator named it: it may be a pipe, and be called anything
                parsed_files[path] = parse_file(_bounded_text(file))
    folder = ManifestFolder()
    return folder, folder.take(parsed_files, time.monotonic())


def _bounded_text(file: BinaryIO) -> str | UnreadableFile:
    data = file.read(reading.MAX_BYTES + 1)
    return reading.decode_utf8(data) if len(data) <= reading.MAX_BYTES else UnreadableFile(f"expected at most {reading.MAX_BYTES} bytes")
