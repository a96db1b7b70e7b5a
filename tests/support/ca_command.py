"""``navarch ca`` at an API server."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from tests.support.cluster import Cluster


async def navarch_ca(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    """Return how ``navarch ca`` ends, and what it says."""
    command = [sys.executable, "-m", "controlplane.cli.main", "ca", *arguments, "--kubeconfig", str(cluster.kubeconfig())]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=300)
    return ran.returncode, ran.stdout + ran.stderr
