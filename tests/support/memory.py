"""The memory of a process."""

from __future__ import annotations

from pathlib import Path


def memory() -> int:
    """Return how many bytes of this process are in memory."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
