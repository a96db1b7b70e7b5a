"""The commands of a page, run as they are written, in a network and an /etc of their own: their ports and files are nobody else's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.support.network_namespaces import needed
from tests.support.processes import envoy_binary

_SERVES = ("navarch serve", "envoy ", "python -m http.server")  # what goes on running
_DEADLINE_S = 240
_PRELUDE = """
set -eu
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
ip link set lo up
mkdir layers; mount -t tmpfs layers layers; mkdir layers/upper layers/work
mount -t overlay etc -o lowerdir=/etc,upperdir=layers/upper,workdir=layers/work /etc
await() { for turn in $(seq 600); do if eval "$1" >/dev/null 2>&1; then return 0; fi; sleep 0.2; done; echo "not so: $1" >&2; return 1; }
"""


def commands(page: str, programs: Sequence[str] = ("navarch", "envoy")) -> list[str]:
    """Return the commands of ``page`` by which ``programs`` are run, one after the other; a backslash goes on in the next line."""
    joined = page.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if re.match(rf"( {{4}})?({'|'.join(programs)}) -*[a-z]", line)]


def run(folder: Path, before: str, steps: Iterable[str | tuple[str, ...]]) -> subprocess.CompletedProcess[str]:
    """Run in ``folder`` what has to be there ``before``, then ``steps``, each one a command: what serves runs until all have run."""
    needed()
    programs = folder / "programs"
    programs.mkdir()
    _program(programs / "navarch", (sys.executable, "-m", "controlplane.cli.main"))
    _program(programs / "envoy", (envoy_binary(),))
    _program(programs / "python", (sys.executable,))
    lines = [f"{str(step).removesuffix('&')} &" if str(step).startswith(_SERVES) else str(step) for step in steps]
    script = "\n".join((_PRELUDE, before, *lines))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = ["unshare", "--net", "--mount", "bash", "-c", script]
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{error}: {error.stderr!r}")


def _program(path: Path, words: Sequence[str]) -> None:
    path.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    path.chmod(0o755)
