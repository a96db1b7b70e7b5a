"""What operations on headers must keep to: of requests, of responses, and of one destination's."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from controlplane.model.header_substitutions import unknown_substitution
from controlplane.objects.networking.virtual_service import HeaderOperations, Headers, HTTPRewrite
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header

AUTHORITY = ":authority"
HOST = "host"


def check_headers(path: str, headers: Headers | None) -> Iterator[Finding]:
    """Yield what is wrong with operations on headers; of the pseudo-headers, the authority of requests may be set."""
    if headers and headers.request:
        yield from _operations(f"{path}.request", headers.request, allowed=(HOST, AUTHORITY))
    if headers and headers.response:
        yield from _operations(f"{path}.response", headers.response, allowed=())


def check_authority(path: str, rewrite: HTTPRewrite | None, headers: Headers | None) -> Iterator[Finding]:
    """Yield that the authority is set more than once: by ``rewrite``, by headers to set, by headers to add."""
    request = headers.request if headers else None
    names = [*request.set, *request.add] if request else []
    times = sum(name.lower() in (AUTHORITY, HOST) for name in names) + bool(rewrite and rewrite.authority)
    if times > 1:
        yield rules.conflict(path, "expected the authority to be set once, by rewrite.authority or by one header")


def _operations(path: str, operations: HeaderOperations, *, allowed: Collection[str]) -> Iterator[Finding]:
    for action, values in (("set", operations.set), ("add", operations.add)):
        for name, value in values.items():
            yield from _name(f"{path}.{action}", name, allowed)
            yield from _value(f"{path}.{action}.{name}", value)
    for index, name in enumerate(operations.remove):
        yield from _name(f"{path}.remove[{index}]", name, ())


def _name(path: str, name: str, allowed: Collection[str]) -> Iterator[Finding]:
    special = name.startswith(":") or name.lower() == HOST
    if not is_header(name):
        yield rules.out_of_range(path, "the name of a header", name)
    elif special and name.lower() not in allowed:
        yield rules.out_of_range(path, "a header other than host and those that begin with ':'", name)


def _value(path: str, value: str) -> Iterator[Finding]:
    if (unknown := unknown_substitution(value)) is not None:
        yield rules.out_of_range(path, "'%' as a substitution of Envoy's, like %HOSTNAME% or %REQ(x-a)%, or doubled", unknown)
    if any(ord(character) < 32 and character != "\t" for character in value):
        yield rules.out_of_range(path, "a value without control characters", value)
