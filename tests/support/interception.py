"""A pod and what is around it, as two network namespaces: what of its traffic is taken shows by who answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from tests.support import network_namespaces as namespaces

APPLICATION, ROOT, PROXY, GROUP = (65534, 65534), (0, 0), (1337, 1337), (1000, 1337)
PORTS_OF_POD = [80, 9090, 3306, 15008, 15090]
PORTS_OUTSIDE = [80, 443, 3306, 53]
POD, POD_V6, POD_ETH1 = "10.77.0.2", "fd77::2", "10.78.0.2"
NEAR, NEAR_V6, FAR, FAR_V6, ETH1, GUEST = "10.77.0.1", "fd77::1", "10.99.0.1", "fd99::1", "10.78.0.1", "10.200.0.1"
_UNUSED = ("192.0.2.1", "2001:db8::1")  # what the checker connects to: here they answer, and refuse


class Call(NamedTuple):
    """A connection: where to, as whom, and from where."""

    host: str
    port: int
    owner: tuple[int, int] = APPLICATION
    source: str = ""
    protocol: str = "tcp"
    from_pod: bool = True


class Worker:
    """A process within a namespace (``netns_worker``)."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-m", "tests.support.netns_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, method: str, *arguments: object) -> object:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the worker ended while it was asked for {method} {arguments}"
        return json.loads(line)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True, slots=True)
class InterceptionBed:
    """The two namespaces, and which back-end the pod's rules are in."""

    kind: str
    pod: Worker
    outside: Worker

    def navarch(self, *words: str) -> tuple[int, str]:
        """Return how ``navarch iptables`` with ``words`` ends in the pod, and what it says."""
        done = self.pod.ask("navarch", "iptables", *words)
        assert isinstance(done, dict)
        assert done["error"] in {"", f"SystemExit({done['status']})"}, done
        return done["status"], done["says"]

    def state(self) -> list[str]:
        """Return all rules, routes and loopback addresses of the pod."""
        found = self.pod.ask("state", self.kind)
        assert isinstance(found, list)
        return found

    @contextmanager
    def proxy(self, ports: list[int], *, transparent: int | None) -> Iterator[None]:
        """Have what is like a proxy listen on ``ports`` of the pod, on one of them for what is meant for others."""
        plain = [port for port in ports if port != transparent]
        self.pod.ask("listen", plain, *PROXY)
        if transparent is not None:
            self.pod.ask("listen", [transparent], *PROXY, "transparent")
        yield
        self.pod.ask("silence", ports)

    def calls(self, calls: dict[str, Call]) -> dict[str, dict[str, object]]:
        """Return who answered each of ``calls``."""
        answers: dict[str, dict[str, object]] = {}
        for worker in (self.pod, self.outside):
            mine = {name: call for name, call in calls.items() if call.from_pod is (worker is self.pod)}
            asked = [[call.protocol, call.host, call.port, *call.owner, call.source] for call in mine.values()]
            found = worker.ask("connect", asked)
            assert isinstance(found, list)
            answers |= dict(zip(mine, found, strict=True))
        return answers


@contextmanager
def bed(kind: str) -> Iterator[InterceptionBed]:
    """Make a pod whose rules are of the back-end ``kind``, with some rules of others in it, and what is around it."""
    pod, outside = (f"nv{os.getpid()}-{kind}-{end}" for end in ("pod", "out"))
    with ExitStack() as stack:
        for name in (pod, outside):
            stack.enter_context(namespaces.namespace(name))
        namespaces.joined(pod, "eth0", outside, "eth0")
        namespaces.joined(pod, "eth1", outside, "eth1")
        _address(pod, outside)
        workers = [Worker(name) for name in (pod, outside)]
        for worker in workers:
            stack.callback(worker.end)
        found = InterceptionBed(kind, *workers)
        found.pod.ask("shell", f"for f in iptables ip6tables; do $f-{kind}-restore --noflush <<EOF\n{_OF_OTHERS}EOF\ndone")
        found.pod.ask("listen", PORTS_OF_POD)
        found.outside.ask("listen", PORTS_OUTSIDE)
        yield found


_OF_OTHERS = """*nat
:OTHERS - [0:0]
-A PREROUTING -p tcp --dport 7 -j OTHERS
-A OUTPUT -p tcp --dport 7 -j RETURN
-A OTHERS -p tcp --dport 9 -j RETURN
COMMIT
*mangle
-A PREROUTING -p tcp --dport 7 -j MARK --set-mark 5
COMMIT
"""


def _address(pod: str, outside: str) -> None:
    for name, host, host_v6, eth1 in ((pod, POD, POD_V6, POD_ETH1), (outside, NEAR, NEAR_V6, ETH1)):
        namespaces.batch(
            name,
            [
                f"addr add {host}/24 dev eth0",
                f"addr add {host_v6}/64 dev eth0 nodad",
                f"addr add {eth1}/24 dev eth1",
                "link set eth0 addrgenmode none",  # such addresses come when they like
                "link set eth1 addrgenmode none",
                "link set eth0 up",
                "link set eth1 up",
            ],
        )
    extra = (f"{FAR}/32", f"{FAR_V6}/128", *(f"{each}/{128 if ':' in each else 32}" for each in _UNUSED))
    namespaces.batch(outside, [*(f"addr add {each} dev lo" for each in extra), f"route add 10.200.0.0/24 via {POD_ETH1}"])
    namespaces.batch(pod, [f"route add default via {NEAR}", f"route add default via {NEAR_V6}"])
