"""Programs in Go: built once, and kept in a folder that is named after what they are built from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.caches import cache_root


def kept(name: str, sources: Iterable[Path]) -> Path:
    """Return the folder for the programs called ``name`` that are built from just these ``sources``."""
    content = b"".join(path.read_bytes() for path in sorted(sources))
    return cache_root() / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"


def go_is_there() -> bool:
    """Return whether programs can be built."""
    return shutil.which("go") is not None


def built(target: Path, module: Path, package: str, flags: Sequence[str] = ()) -> Path:
    """Return ``target``, built if it has to be from ``package`` of the Go module in ``module``; who else is at it is waited for."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_file():
            return target
        sys.stderr.write(f"building {target.name}: once, some minutes\n")
        made = target.with_name(f"{target.name}.part")
        command = ["go", "build", "-mod=readonly", "-trimpath", *flags, "-o", str(made), package]
        subprocess.run(command, cwd=module, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        return made.rename(target)
