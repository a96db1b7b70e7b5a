"""A node of the tests: a network namespace with a bridge, to which pods are joined, and which this process can enter."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count

from tests.support import network_namespaces as namespaces

BRIDGE = "pods0"
_CLONE_NEWNET = 0x40000000  # linux/sched.h


@dataclass(frozen=True, slots=True)
class Node:
    """The namespace ``name``; its bridge has the address ``ip``."""

    name: str
    network: str = "10.88.0"
    _numbers: Iterator[int] = field(default_factory=lambda: count(10))

    @property
    def ip(self) -> str:
        """Return ``status.hostIP`` of its pods."""
        return f"{self.network}.1"

    @contextmanager
    def sandbox(self) -> Iterator[tuple[str, str]]:
        """Make a pod's network; yield the name of its namespace, and its address, which no other pod ever had."""
        number = next(self._numbers)
        name, ip, cable = f"{self.name}-{number}", f"{self.network}.{number}", f"veth{number}"
        with namespaces.namespace(name):
            namespaces.joined(name, "eth0", self.name, cable)
            namespaces.batch(self.name, [f"link set {cable} master {BRIDGE}", f"link set {cable} up"])
            namespaces.batch(name, [f"addr add {ip}/24 dev eth0", "link set eth0 up", f"route add default via {self.ip}"])
            yield name, ip


@contextmanager
def node() -> Iterator[Node]:
    """Make a node and enter it: what this thread opens or starts from now on, until the block ends, is on the node."""
    made = Node(f"nv{os.getpid()}-node")
    with ExitStack() as stack:
        stack.enter_context(namespaces.namespace(made.name))
        bridge = (f"link add {BRIDGE} type bridge", f"addr add {made.ip}/24 dev {BRIDGE}", f"link set {BRIDGE} up")
        namespaces.batch(made.name, [*bridge, f"route add default dev {BRIDGE}"])  # an API server wants one
        stack.enter_context(_entered(made.name))
        yield made


@contextmanager
def _entered(name: str) -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        _set(inside)
        yield
    finally:
        _set(before)
        os.close(inside)
        os.close(before)


def _set(namespace: int) -> None:
    """Move this thread to ``namespace``. Python has ``os.setns`` from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
