"""``navarch ca`` at an API server."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.support.cluster import Cluster

_NAVARCH = (sys.executable, "-m", "controlplane.cli.main")


async def navarch_ca(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    """Return how ``navarch ca`` ends, and what it says."""
    return await _ended((*_NAVARCH, "ca", *arguments, "--kubeconfig", str(cluster.kubeconfig())))


async def as_written(cluster: Cluster, line: str) -> tuple[int, str]:
    """Return how the command ``line`` of a page ends, which finds ``cluster`` as a user's does, and what it says."""
    _, *arguments = shlex.split(line)
    return await _ended((*_NAVARCH, *arguments), {"KUBECONFIG": str(cluster.kubeconfig())})


async def _ended(command: Sequence[str], more: Mapping[str, str] | None = None) -> tuple[int, str]:
    environment = {**os.environ, **(more or {})}
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    return ran.returncode, ran.stdout + ran.stderr
