"""The manifests that a command was given, as one text for a control plane to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.options import decode_text

MOST_BYTES = 1 << 20  # that a control plane reads
_STDIN = "-"


def manifest_text(paths: Iterable[str], stdin: BinaryIO) -> str:
    """Return what is written at ``paths``, each a manifest, a folder of them, or ``-`` for ``stdin``; raises CommandFailed, and OSError."""
    text = "\n---\n".join(_texts(paths, stdin))
    if not text.strip():
        raise CommandFailed("there is no object in these manifests")
    if len(text.encode()) > MOST_BYTES:
        raise CommandFailed(f"expected at most {MOST_BYTES} bytes of manifests at a time")
    return text


def _texts(paths: Iterable[str], stdin: BinaryIO) -> Iterator[str]:
    from controlplane.sources.files import reading

    for path in dict.fromkeys(paths):
        if path == _STDIN:
            yield decode_text("standard input", stdin.read(reading.MAX_BYTES + 1))
        elif Path(path).is_dir():
            for file in reading.manifest_files(path):
                yield decode_text(file, Path(file).read_bytes())
        else:
            yield decode_text(path, Path(path).read_bytes())
