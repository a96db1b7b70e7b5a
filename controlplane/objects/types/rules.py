"""Rules that several kinds share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network

from controlplane.model.credentials import names_a_secret
from controlplane.model.hosts import ANY
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import host_error, is_fqdn, is_label, label_error
from controlplane.objects.types.regex import regex_error
from controlplane.objects.types.scalars import MAX_PORT
from controlplane.objects.types.validation_errors import for_message

OUT_OF_RANGE = "OutOfRange"
CONFLICT = "Conflict"
REQUIRED = "Required"
MESH = "mesh"
NO_NAMESPACE = "~"
OWN_NAMESPACE = "."
_BITS = re.compile(r"[0-9]*\Z")  # Python knows masks such as 255.0.0.0 too


def out_of_range(path: str, expected: str, actual: object) -> Finding:
    """Return that ``actual`` stands at ``path`` where ``expected`` should."""
    return Finding(path, OUT_OF_RANGE, f"expected {expected}, found {for_message(actual)}")


def conflict(path: str, message: str) -> Finding:
    """Return that fields at ``path`` exclude each other."""
    return Finding(path, CONFLICT, message)


def required(path: str, expected: str) -> Finding:
    """Return that something is missing at ``path``."""
    return Finding(path, REQUIRED, f"expected {expected}")


def warning(path: str, code: str, message: str) -> Finding:
    """Return something at ``path`` that the object may keep, and that its user should know."""
    return Finding(path, code, message, fatal=False)


def port_number(path: str, number: int | None) -> Iterator[Finding]:
    """Yield what is wrong with a port's ``number``; ``None`` is not given, and fine."""
    if number is not None and not 0 < number <= MAX_PORT:
        yield out_of_range(path, f"a port from 1 to {MAX_PORT}", number)


def port_name(path: str, name: str) -> Iterator[Finding]:
    """Yield what is wrong with the ``name`` of a port."""
    if not is_label(name):
        yield out_of_range(path, "a name of letters, digits and dashes", name)


def protocol(path: str, name: str) -> Iterator[Finding]:
    """Yield what is wrong with the ``name`` of a port's protocol."""
    if parse_protocol(name) is Protocol.UNSUPPORTED:
        yield out_of_range(path, "a protocol such as HTTP, HTTP2, HTTPS, GRPC, TLS, MONGO or TCP", name)


def percent(path: str, value: float | None) -> Iterator[Finding]:
    """Yield what is wrong with a share of 100."""
    if value is not None and not 0 <= value <= 100:
        yield out_of_range(path, "a value from 0 to 100", value)


def single_line(path: str, **texts: str) -> Iterator[Finding]:
    """Yield which of the texts ``texts``, that go into headers, have control characters."""
    for name, value in texts.items():
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            yield out_of_range(f"{path}.{name}", "a text without control characters", value)


def host_name(path: str, host: str, *, wildcard: bool = True) -> Iterator[Finding]:
    """Yield what is wrong with the name of a host."""
    if error := host_error(host, wildcard=wildcard):
        yield Finding(path, OUT_OF_RANGE, error)


def expression(path: str, pattern: str) -> Iterator[Finding]:
    """Yield what is wrong with ``pattern`` as a regular expression."""
    if error := regex_error(pattern):
        yield Finding(path, OUT_OF_RANGE, error)


def subnet(path: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with an address or a block of addresses."""
    try:
        ip_network(text, strict=False)
        good = "%" not in text and _BITS.match(text.partition("/")[2])
    except ValueError:
        good = None
    if not good:
        yield out_of_range(path, "an IP address or a CIDR block", text)


def labels(path: str, pairs: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with labels."""
    for name, value in pairs.items():
        if error := label_error(name, value):
            yield Finding(f"{path}.{name}", OUT_OF_RANGE, error)


def selector(path: str, pairs: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with a selector by labels."""
    for name, value in pairs.items():
        if ANY in name or ANY in value:
            yield Finding(f"{path}.{name}", OUT_OF_RANGE, "expected labels without wildcards")
        elif not name:
            yield required(path, "label names that are not empty")


def gateways(path: str, names: Iterable[str]) -> Iterator[Finding]:
    """Yield what is wrong with the names of gateways."""
    for index, name in enumerate(names):
        namespace, slash, gateway = name.partition("/")
        if not (is_fqdn(namespace) and is_fqdn(gateway) if slash else is_fqdn(name)):
            yield out_of_range(f"{path}[{index}]", "'mesh', a gateway, or namespace/gateway", name)


def export_to(path: str, names: Iterable[str], namespace: str, *, no_one: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with an ``exportTo`` of an object of ``namespace``; ``no_one`` allows it to be hidden from everyone."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name not in (ANY, OWN_NAMESPACE) and not (name == NO_NAMESPACE and no_one) and not is_label(name):
            yield out_of_range(f"{path}[{index}]", "a namespace, '.' or '*'", name)
        meant = namespace if name == OWN_NAMESPACE else name
        if meant in seen:
            yield conflict(f"{path}[{index}]", f"expected each namespace once, found {for_message(name)} again")
        seen.add(meant)
    for exclusive in (ANY, NO_NAMESPACE):
        if exclusive in seen and len(seen) > 1:
            yield conflict(path, f"expected {exclusive!r} alone, found it among others")


def credential(path: str, name: str) -> Iterator[Finding]:
    """Yield that ``name`` can be no Secret's, where it cannot: what is served by it is not served."""
    if name and not names_a_secret(name):
        message = f"expected the name of a Secret, or NAMESPACE/NAME of one, found {for_message(name)}: no certificate comes of it"
        yield warning(path, "BadCredential", message)
