"""Loopback addresses that nobody uses, and who owns a listening port.

Envoy binds with SO_REUSEPORT: two of them on one port get half the connections each, without an error. So every port is looked up.
"""

from __future__ import annotations

import random
import socket
import struct
from pathlib import Path

_LISTENING = "0A"
_NEVER_GIVEN = range(20_000, 32_000)  # below the ports that Linux gives to connections, and above the well-known ones


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of ``host`` that is free now, and that the kernel gives to no connection meanwhile. Raises OSError."""
    for port in random.sample(_NEVER_GIVEN, 200):
        if _can_listen(host, port):
            return port
    raise OSError(f"no free port at {host}")


def _can_listen(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port)):
            return True
    except OSError:
        return False


def free_network(ports: tuple[int, ...]) -> str:
    """Return the first three parts of loopback addresses ``127.x.y.z`` that nobody listens on at ``ports``. Raises OSError."""
    taken = {address.rpartition(".")[0] for address, port in _listening_sockets() if port in ports or port == 0}
    for _ in range(200):
        network = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"  # noqa: S311 - any free one will do
        if network not in taken:
            return network
    raise OSError("no free loopback addresses")


def port_owners(address: str, port: int) -> set[int]:
    """Return the ids of the processes that listen on ``port`` of ``address``, or of every address (Linux)."""
    inodes = {inode for (host, number), inode in _listening_sockets().items() if number == port and host in (address, "0.0.0.0")}
    pids = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and inodes & _socket_inodes(process):
            pids.add(int(process.name))
    return pids


def _listening_sockets() -> dict[tuple[str, int], str]:
    inodes = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING:
            host, _, port = fields[1].partition(":")
            address = socket.inet_ntoa(struct.pack("<I", int(host, 16)))
            inodes[address, int(port, 16)] = fields[9]
    return inodes


def _socket_inodes(process: Path) -> set[str]:
    inodes = set()
    try:
        for descriptor in (process / "fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    except OSError:
        pass  # it ended meanwhile, or is somebody else's
    return inodes
