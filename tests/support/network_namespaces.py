"""Network namespaces of a test: with names of its own, addresses that nobody else sees, and an end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

PROGRAMS = ("ip", "iptables", "ip6tables")


def needed() -> None:
    """Skip the test where no network namespaces can be made."""
    if os.geteuid() != 0:
        pytest.skip("not run: network namespaces need root")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not run: {', '.join(missing)} not installed; Debian has them in iptables and iproute2")
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"not run: no network namespace can be made here: {tried.stderr.strip()}")


def run(*words: str) -> str:
    """Return what the command ``words`` prints; it has to succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make the network namespace ``name``, with a loopback, for as long as the block lasts."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "del", name)


def batch(name: str, lines: Sequence[str]) -> None:
    """Have ``ip`` do ``lines`` within the namespace ``name``."""
    done = subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def joined(name: str, interface: str, other: str, other_interface: str) -> None:
    """Join two namespaces by a cable: ``interface`` of ``name``, ``other_interface`` of ``other``."""
    run("ip", "-n", name, "link", "add", interface, "type", "veth", "peer", "name", other_interface, "netns", other)
