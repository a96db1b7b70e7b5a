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
    taken: bool = False  # by the proxy, as it has to be


@dataclass(slots=True)
class _Trial:
    """A probe under way: its socket, and what became of it."""

    probe: ConnectionTest
    client: socket.socket
    came_to: int | None = None
    was_for: tuple[Address, int] | None = None
    over: str = ""  # why it comes nowhere


@dataclass(frozen=True, slots=True)
class _Bench:
    """The listeners of the would-be proxy, the trials, and by which word each connection that was taken can be told."""

    selector: selectors.BaseSelector
    sockets: ExitStack
    trials: list[_Trial] = field(default_factory=list)
    taken: dict[bytes, tuple[int, tuple[Address, int]]] = field(default_factory=dict)


def check_capture(wanted: Capture, found: tuple[Family, ...], within_s: float) -> list[CheckResult]:
    """Return what holds of ``wanted`` in this network namespace, for the families ``detail``; each connection has ``within_s``."""
    findings: list[CheckResult] = []
    for family in found:
        with ExitStack() as stack:
            bench = _Bench(stack.enter_context(selectors.DefaultSelector()), stack)
            _listen(bench, wanted, family)
            own = _own_address(family)
            for probe in connection_tests(wanted, family, own):
                _start(bench, probe, wanted, findings)
            _watch(bench, within_s)
            findings += (_judged(trial) for trial in bench.trials)
        findings.append(_from_outside(wanted, family))
    return findings


def is_proved(findings: list[CheckResult], wanted: Capture) -> bool:
    """Say whether ``findings`` show that ``wanted`` holds: nothing is wrong, and something was caught where anything is to be."""
    catches = wanted.inbound or wanted.ranges or wanted.outbound
    return all(each.holds is not False for each in findings) and (any(each.taken for each in findings) or not catches)


def _listen(bench: _Bench, wanted: Capture, family: Family) -> None:
    for port in (wanted.outbound_port, wanted.inbound_port, *((wanted.dns_port,) if wanted.dns else ())):
        listener = bench.sockets.enter_context(socket.socket(_DOMAIN[family], socket.SOCK_STREAM))
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family is Family.V6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if wanted.mode is InterceptionMode.TPROXY and port == wanted.inbound_port:
                level, option = (socket.SOL_IP, _IP_TRANSPARENT) if family is Family.V4 else (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
                listener.setsockopt(level, option, 1)
            listener.bind((_ANY[family], port))
        except OSError as error:
            raise CannotIntercept(f"cannot listen on port {port} as the proxy would: {error.strerror}; is a proxy running here?") from None
        listener.listen(64)
        bench.selector.register(listener, selectors.EVENT_READ, port)


def _start(bench: _Bench, probe: ConnectionTest, wanted: Capture, findings: list[CheckResult]) -> None:
    owner = _owner(probe.role, wanted)
    if owner is None:
        findings.append(CheckResult(str(probe), None, f"needs root, or a user who is {probe.role}'s"))
        return
    with _acting_as(owner):
        client = bench.sockets.enter_context(socket.socket(socket.AF_INET if probe.address.version == 4 else socket.AF_INET6))
    client.settimeout(0)
    problem = client.connect_ex((str(probe.address), probe.port))
    trial = _Trial(probe, client)
    if problem in _NO_WAY:
        findings.append(CheckResult(str(probe), None, os.strerror(problem)))
        return
    bench.trials.append(trial)
    bench.selector.register(client, selectors.EVENT_READ, trial)


def _owner(role: Role, wanted: Capture) -> tuple[int, int] | None:
    """Return the user and group to connect as in ``role``: ``None`` where this process may not."""
    uid, gid = os.geteuid(), os.getegid()
    proxy = (wanted.uids[0] if wanted.uids else _NOBODY, wanted.gids[0] if wanted.gids else _NOBODY)
    if role is Role.PROXY and uid in wanted.uids:
        return uid, gid
    if role is Role.APPLICATION and uid not in wanted.uids and gid not in wanted.gids:
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


def _watch(bench: _Bench, within_s: float) -> None:
    """Take what comes, until everything that has to come is there, and the rest had the time to."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < within_s:
        missing = any(trial.probe.expected is not None and trial.came_to is None for trial in bench.trials)
        undecided = any(trial.came_to is None and not trial.over for trial in bench.trials)
        if not missing and (not undecided or passed > _GRACE_S):
            return
        for key, _ in bench.selector.select(timeout=0.05):
            if isinstance(key.data, _Trial):
                _hear(bench, key.data)
            elif isinstance(key.fileobj, socket.socket):
                _take(bench, key.fileobj, int(key.data))


def _take(bench: _Bench, listener: socket.socket, port: int) -> None:
    """Take a connection as the proxy, and say a word in it: where it came from does not tell which it is, rules can change that."""
    taken = bench.sockets.enter_context(listener.accept()[0])
    word = secrets.token_bytes(_WORD)
    bench.taken[word] = port, _original(taken)
    with suppress(OSError):
        taken.sendall(word)


def _hear(bench: _Bench, trial: _Trial) -> None:
    """Hear who answers: nothing was said to them, they may be somebody's server."""
    bench.selector.unregister(trial.client)
    try:
        heard = trial.client.recv(_WORD)
    except OSError as error:
        trial.over = error.strerror or str(error)
        return
    if heard in bench.taken:
        trial.came_to, trial.was_for = bench.taken[heard]
    else:
        trial.over = "somebody else answers"


def _original(taken: socket.socket) -> tuple[Address, int]:
    """Return where the connection ``taken`` was meant to go: the kernel keeps it for what was redirected; TPROXY leaves it as it is."""
    try:
        if taken.family == socket.AF_INET:
            port, host = struct.unpack("!2xH4s8x", taken.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16))
            return IPv4Address(host), port
        port, long_host = struct.unpack("!2xH4x16s4x", taken.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28))
        return IPv6Address(long_host), port
    except OSError:
        return _end(taken.getsockname())


def _judged(trial: _Trial) -> CheckResult:
    probe = trial.probe
    meant = (probe.address, probe.port)
    if trial.came_to is None:
        return CheckResult(str(probe), probe.expected is None, f"went by ({trial.over or 'no answer'})")
    if trial.was_for != meant:
        return CheckResult(str(probe), holds=False, detail=f"came to port {trial.came_to} with another destination, {trial.was_for}")
    return CheckResult(str(probe), probe.expected == trial.came_to, f"came to port {trial.came_to}", taken=True)


def _from_outside(wanted: Capture, family: Family) -> CheckResult:
    """Look at the rules for connections from outside: none can be made from here."""
    what = f"{family} from outside"
    if os.geteuid() != 0:
        return CheckResult(what, holds=None, detail="needs root: only the rules can be looked at from within")
    backend = detect_backend()
    for rule in rules_from_outside(wanted, family):
        if not backend.stands(family, *rule):
            return CheckResult(what, holds=False, detail=f"there is no rule -t {rule.table} -A {rule.chain} {rule.spec}")
    return CheckResult(what, holds=True, detail="the rules are there")


def _own_address(family: Family) -> Address | None:
    """Return the address that this workload's connections to others come from, if it has one."""
    with socket.socket(_DOMAIN[family], socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((str(OUTSIDE[family]), 9))  # nothing is sent
        except OSError:
            return None
        return _end(asked.getsockname())[0]


def _end(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[Address, int]:
    return ip_address(name[0].partition("%")[0]), name[1]
