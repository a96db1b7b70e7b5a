"""Proves that traffic is caught: listens as the proxy would, connects as the application and as the proxy, and sees what comes where."""

from __future__ import annotations

import errno
import os
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from controlplane.iptables.check_plan import OUTSIDE, ConnectionTest, Role, connection_tests, rules_from_outside
from controlplane.iptables.programs import CannotIntercept, detect_backend
from controlplane.iptables.settings import Address, Capture, Family, InterceptionMode

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and the same number in linux/netfilter_ipv6/ip6_tables.h
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75  # linux/in.h, linux/in6.h
_ANY = {Family.V4: "0.0.0.0", Family.V6: "::"}
_DOMAIN = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}
_NOBODY = 65_534
_WORD = 16
_GRACE_S = 0.2  # what has not come to a listener on the same machine by then has gone by
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was looked at, and whether it is as it should be; ``None``: that could not be tried, for the reason in ``detail``."""

    subject: str
    holds: bool | None
    detail: str
    captured: bool = False  # by the proxy, as it has to be


@dataclass(slots=True)
class _RunningTest:
    """A connection test under way: its socket, and the result so far."""

    planned: ConnectionTest
    client: socket.socket
    arrived_at: int | None = None
    destination: tuple[Address, int] | None = None
    failure: str = ""  # why it arrives nowhere


@dataclass(frozen=True, slots=True)
class _TestRun:
    """The listeners in place of the proxy, the tests under way, and the word by which each connection they have accepted is known."""

    selector: selectors.BaseSelector
    sockets: ExitStack
    running: list[_RunningTest] = field(default_factory=list)
    captured: dict[bytes, tuple[int, tuple[Address, int]]] = field(default_factory=dict)


def check_capture(capture: Capture, families: tuple[Family, ...], within_s: float) -> list[CheckResult]:
    """Return what holds of ``capture`` in this network namespace, for its ``families``; each connection has ``within_s``."""
    results: list[CheckResult] = []
    for family in families:
        with ExitStack() as stack:
            test_run = _TestRun(stack.enter_context(selectors.DefaultSelector()), stack)
            _listen(test_run, capture, family)
            own_address = _own_address(family)
            for planned in connection_tests(capture, family, own_address):
                _start(test_run, planned, capture, results)
            _wait(test_run, within_s)
            results += (_result(test) for test in test_run.running)
        results.append(_from_outside(capture, family))
    return results


def is_proved(results: list[CheckResult], capture: Capture) -> bool:
    """Say whether ``results`` show that ``capture`` holds: nothing is wrong, and something was caught where anything is to be."""
    captures_any = capture.inbound or capture.ranges or capture.outbound
    return all(result.holds is not False for result in results) and (any(result.captured for result in results) or not captures_any)


def _listen(test_run: _TestRun, capture: Capture, family: Family) -> None:
    for port in (capture.outbound_port, capture.inbound_port, *((capture.dns_port,) if capture.dns else ())):
        listener = test_run.sockets.enter_context(socket.socket(_DOMAIN[family], socket.SOCK_STREAM))
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family is Family.V6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if capture.mode is InterceptionMode.TPROXY and port == capture.inbound_port:
                level, option = (socket.SOL_IP, _IP_TRANSPARENT) if family is Family.V4 else (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
                listener.setsockopt(level, option, 1)
            listener.bind((_ANY[family], port))
        except OSError as error:
            raise CannotIntercept(f"cannot listen on port {port} as the proxy would: {error.strerror}; is a proxy running here?") from None
        listener.listen(64)
        test_run.selector.register(listener, selectors.EVENT_READ, port)


def _start(test_run: _TestRun, planned: ConnectionTest, capture: Capture, results: list[CheckResult]) -> None:
    owner = _owner(planned.role, capture)
    if owner is None:
        results.append(CheckResult(str(planned), None, f"needs root, or a user who is {planned.role}'s"))
        return
    with _acting_as(owner):
        client = test_run.sockets.enter_context(socket.socket(socket.AF_INET if planned.address.version == 4 else socket.AF_INET6))
    client.settimeout(0)
    problem = client.connect_ex((str(planned.address), planned.port))
    test = _RunningTest(planned, client)
    if problem in _NO_WAY:
        results.append(CheckResult(str(planned), None, os.strerror(problem)))
        return
    test_run.running.append(test)
    test_run.selector.register(client, selectors.EVENT_READ, test)


def _owner(role: Role, capture: Capture) -> tuple[int, int] | None:
    """Return the user and group to connect as in ``role``: ``None`` where this process may not."""
    uid, gid = os.geteuid(), os.getegid()
    proxy = (capture.uids[0] if capture.uids else _NOBODY, capture.gids[0] if capture.gids else _NOBODY)
    if role is Role.PROXY and uid in capture.uids:
        return uid, gid
    if role is Role.APPLICATION and uid not in capture.uids and gid not in capture.gids:
        return uid, gid
    if uid == 0:
        return proxy if role is Role.PROXY else (_NOBODY, _NOBODY)
    return None


@contextmanager
def _acting_as(owner: tuple[int, int]) -> Iterator[None]:
    """Have what is opened belong to the user and group ``owner``: the rules go by who opened a socket."""
    uid, gid = os.geteuid(), os.getegid()
    if owner == (uid, gid):
        yield
        return
    os.setegid(owner[1])
    os.seteuid(owner[0])
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)


def _wait(test_run: _TestRun, within_s: float) -> None:
    """Take what comes, until everything that has to come is there, and the rest had the time to."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < within_s:
        missing = any(test.planned.expected is not None and test.arrived_at is None for test in test_run.running)
        undecided = any(test.arrived_at is None and not test.failure for test in test_run.running)
        if not missing and (not undecided or passed > _GRACE_S):
            return
        for key, _ in test_run.selector.select(timeout=0.05):
            if isinstance(key.data, _RunningTest):
                _receive(test_run, key.data)
            elif isinstance(key.fileobj, socket.socket):
                _accept(test_run, key.fileobj, int(key.data))


def _accept(test_run: _TestRun, listener: socket.socket, port: int) -> None:
    """Take a connection as the proxy, and say a word in it: where it came from does not tell which it is, rules can change that."""
    accepted = test_run.sockets.enter_context(listener.accept()[0])
    word = secrets.token_bytes(_WORD)
    test_run.captured[word] = port, _original_destination(accepted)
    with suppress(OSError):
        accepted.sendall(word)


def _receive(test_run: _TestRun, test: _RunningTest) -> None:
    """Receive from whoever answers: nothing was sent to them, they may be somebody's server."""
    test_run.selector.unregister(test.client)
    try:
        received = test.client.recv(_WORD)
    except OSError as error:
        test.failure = error.strerror or str(error)
        return
    if received in test_run.captured:
        test.arrived_at, test.destination = test_run.captured[received]
    else:
        test.failure = "somebody else answers"


def _original_destination(accepted: socket.socket) -> tuple[Address, int]:
    """Return where the connection ``accepted`` was meant to go: the kernel keeps it for what was redirected; TPROXY leaves it as it is."""
    try:
        if accepted.family == socket.AF_INET:
            port, host = struct.unpack("!2xH4s8x", accepted.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16))
            return IPv4Address(host), port
        port, long_host = struct.unpack("!2xH4x16s4x", accepted.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28))
        return IPv6Address(long_host), port
    except OSError:
        return _end(accepted.getsockname())


def _result(test: _RunningTest) -> CheckResult:
    planned = test.planned
    target = (planned.address, planned.port)
    if test.arrived_at is None:
        return CheckResult(str(planned), planned.expected is None, f"went by ({test.failure or 'no answer'})")
    if test.destination != target:
        return CheckResult(str(planned), holds=False, detail=f"came to port {test.arrived_at} with another destination, {test.destination}")
    return CheckResult(str(planned), planned.expected == test.arrived_at, f"came to port {test.arrived_at}", captured=True)


def _from_outside(capture: Capture, family: Family) -> CheckResult:
    """Look at the rules for connections from outside: none can be made from here."""
    subject = f"{family} from outside"
    if os.geteuid() != 0:
        return CheckResult(subject, holds=None, detail="needs root: only the rules can be looked at from within")
    backend = detect_backend()
    for rule in rules_from_outside(capture, family):
        if not backend.has_rule(family, *rule):
            return CheckResult(subject, holds=False, detail=f"there is no rule -t {rule.table} -A {rule.chain} {rule.spec}")
    return CheckResult(subject, holds=True, detail="the rules are there")


def _own_address(family: Family) -> Address | None:
    """Return the address that this workload's connections to others come from, if it has one."""
    with socket.socket(_DOMAIN[family], socket.SOCK_DGRAM) as probe_socket:
        try:
            probe_socket.connect((str(OUTSIDE[family]), 9))  # nothing is sent
        except OSError:
            return None
        return _end(probe_socket.getsockname())[0]


def _end(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[Address, int]:
    return ip_address(name[0].partition("%")[0]), name[1]
