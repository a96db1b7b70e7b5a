"""Rules that several kinds share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controlplane.objects.names import fault_of_host, fault_of_label, is_dns_label, is_port
from controlplane.objects.review import Finding

OUT_OF_RANGE = "OutOfRange"
CONFLICT = "Conflict"
REQUIRED = "Required"
_VISIBILITIES = frozenset(("*", ".", "~"))


def out_of_range(path: str, expected: str, found: object) -> Finding:
    """Return that ``found`` stands at ``path`` where ``expected`` should."""
    return Finding(path, OUT_OF_RANGE, f"expected {expected}, found {str(found)[:80]!r}" if isinstance(found, str) else f"expected {expected}, found {found}")


def conflict(path: str, message: str) -> Finding:
    """Return that fields at ``path`` exclude each other."""
    return Finding(path, CONFLICT, message)


def required(path: str, expected: str) -> Finding:
    """Return that something is missing at ``path``."""
    return Finding(path, REQUIRED, f"expected {expected}")


def ports(path: str, number: int | None) -> Iterator[Finding]:
    """Yield what is wrong with a port's ``number``; ``None`` is not given, and fine."""
    if number is not None and not is_port(number):
        yield out_of_range(path, "a port from 1 to 65535", number)


def percent(path: str, value: float | None) -> Iterator[Finding]:
    """Yield what is wrong with a share of 100."""
    if value is not None and not 0 <= value <= 100:
        yield out_of_range(path, "a value from 0 to 100", value)


def durations(path: str, at_least_ms: int, **named: int | None) -> Iterator[Finding]:
    """Yield which of the durations ``named`` are below ``at_least_ms``."""
    for name, value in named.items():
        if value is not None and value < at_least_ms:
            yield out_of_range(f"{path}.{name}", f"at least {at_least_ms}ms", f"{value}ms")


def hosts(path: str, host: str, *, wildcard: bool = True, single_star: bool = True) -> Iterator[Finding]:
    """Yield what is wrong with the name of a host."""
    if fault := fault_of_host(host, wildcard=wildcard, single_star=single_star):
        yield Finding(path, OUT_OF_RANGE, fault)


def labels(path: str, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with labels."""
    for name, value in given.items():
        if fault := fault_of_label(name, value):
            yield Finding(f"{path}.{name}", OUT_OF_RANGE, fault)


def selector(path: str, given: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with a selector by labels."""
    for name, value in given.items():
        if "*" in name or "*" in value:
            yield Finding(f"{path}.{name}", OUT_OF_RANGE, "expected labels without wildcards")
        elif not name:
            yield Finding(path, OUT_OF_RANGE, "expected label names that are not empty")


def exports(path: str, names: Iterable[str]) -> Iterator[Finding]:
    """Yield what is wrong with an ``exportTo``."""
    given = tuple(names)
    for at, name in enumerate(given):
        if name not in _VISIBILITIES and not is_dns_label(name):
            yield out_of_range(f"{path}[{at}]", "a namespace, '.', '*' or '~'", name)
        if name in given[:at]:
            yield conflict(f"{path}[{at}]", f"expected each namespace once, found {name!r} again")
    for alone in ("*", "~"):
        if alone in given and len(given) > 1:
            yield conflict(path, f"expected {alone!r} alone, found it among others")
