"""Manifests read once, for commands that ask about them without serving them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from controlplane.objects.changes import Change
from controlplane.sources.files import reading
from controlplane.sources.files.folder import Folder
from controlplane.sources.files.manifest import Refused, Sheet, sheet

STDIN = "-"


def gather(paths: Iterable[str], stdin: BinaryIO) -> tuple[Folder, tuple[Change, ...]]:
    """Return what ``paths`` give, each a manifest, a folder of them, or ``-`` for ``stdin``; raises OSError for one that is not there."""
    sheets: dict[str, Sheet | None] = {}
    for path in dict.fromkeys(paths):
        if path == STDIN:
            sheets["standard input"] = sheet(_text(stdin))
        elif Path(path).is_dir():
            for each in reading.files(path):
                found = reading.read(path, each)
                sheets[each] = None if found is None else sheet(found)
        else:
            with Path(path).open("rb") as file:  # the operator named it: it may be a pipe, and be called anything
                sheets[path] = sheet(_text(file))
    folder = Folder()
    return folder, folder.take(sheets, time.monotonic())


def _text(file: BinaryIO) -> str | Refused:
    data = file.read(reading.MAX_BYTES + 1)
    return reading.decoded(data) if len(data) <= reading.MAX_BYTES else Refused(f"expected at most {reading.MAX_BYTES} bytes")
