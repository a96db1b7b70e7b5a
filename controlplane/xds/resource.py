"""One Envoy resource, encoded once, ready for the wires of both protocols."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from dataclasses import field as _field
from hashlib import blake2b
from typing import NamedTuple

from controlplane.model.deferrals import NONE_MISSING, MissingDestinations

Reference = tuple[str, str]  # (type URL, name)

_VERSION_BYTES = 8  # 16 hex digits: a 64-digit hash would double `initial_resource_versions`


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A named resource of one type with its content hash as version; equal when type, name and version are.

    ``frame`` is a whole ``resources`` field of a DeltaDiscoveryResponse. Its tail from ``sotw_at`` on is a whole ``resources`` field
    of a DiscoveryResponse: in both messages, and in ``Resource`` itself, the ``Any`` stands in field 2.
    ``uses`` are the (type URL, name)s that this resource refers to; ``exclusive`` what no two resources of a table may both have
    (the domains of a virtual host). What a rule of it would lead to and is ``missing`` is answered 503.
    ``assembly`` is what it was put together from, where it was; ``fallback`` what a client gets that refuses it, and had nothing before.
    A client drops it ``ttl_ms`` after it last heard of it, where that is not 0; what cannot be told of that gets the fallback at once.
    """

    type_url: str
    name: str
    version: str
    frame: bytes = _field(repr=False)
    sotw_at: int
    uses: tuple[Reference, ...] = ()
    exclusive: frozenset[str] = frozenset()
    missing: MissingDestinations = NONE_MISSING
    assembly: Assembly | None = _field(default=None, repr=False)
    fallback: Resource | None = _field(default=None, repr=False)
    ttl_ms: int = 0

    def __eq__(self, other: object) -> bool:
        """Return whether ``other`` has the same type, name, version and references, and lacks the same."""
        if not isinstance(other, Resource):
            return NotImplemented
        same_name = (self.version, self.name, self.type_url) == (other.version, other.name, other.type_url)
        return same_name and self.uses == other.uses and self.missing == other.missing

    def __hash__(self) -> int:
        """Return a hash by name and version."""
        return hash((self.name, self.version))

    @property
    def sotw_frame(self) -> bytes:
        """Return the ``resources`` field of a DiscoveryResponse."""
        return self.frame[self.sotw_at :]

    @property
    def value(self) -> bytes:
        """Return the encoded message itself, without the ``Any`` around it."""
        packed, at = read_bytes(self.frame, self.sotw_at + 1)
        del at
        _, after_url = read_bytes(packed, 1)
        value, _ = read_bytes(packed, after_url + 1)
        return value


class Part(NamedTuple):
    """One virtual host of an assembled RouteConfiguration: what it is, and what becomes of its requests, which can be exchanged."""

    name: str
    head: bytes  # name and domains
    body: bytes
    uses: tuple[Reference, ...] = ()
    exclusive: frozenset[str] = frozenset()
    missing: MissingDestinations = NONE_MISSING

    def with_body_of(self, other: Part) -> Part:
        """Return this part with what becomes of requests to ``other``."""
        return self._replace(body=other.body, uses=other.uses, missing=other.missing)


class Assembly(NamedTuple):
    """What a resource is put together from: ``parts``, each a field 2, between ``head`` and ``tail``; ``uses`` are of the tail.

    ``unavailable`` is the body of a part whose requests are answered 503.
    """

    head: bytes
    parts: tuple[Part, ...]
    tail: bytes
    unavailable: bytes
    uses: tuple[Reference, ...] = ()


def assembled(type_url: str, name: str, assembly: Assembly) -> Resource:
    """Return the Resource ``name`` of ``type_url`` that is put together from ``assembly``."""
    parts = assembly.parts
    value = assembly.head + b"".join(field(2, part.head + part.body) for part in parts) + assembly.tail
    uses = sorted({*assembly.uses, *(reference for part in parts for reference in part.uses)})
    missing = NONE_MISSING.union(*(part.missing for part in parts if part.missing))
    return replace(resource(type_url, name, value, uses=tuple(uses)), missing=missing, assembly=assembly)


def resource(
    type_url: str, name: str, value: bytes, *, uses: tuple[Reference, ...] = (), exclusive: frozenset[str] = frozenset()
) -> Resource:
    """Return the Resource ``name`` of ``type_url`` whose message is encoded, deterministically, as ``value``.

    The version is a property of the content alone, the same on every replica of one release (XP-10, XP-11).
    """
    version = blake2b(value, digest_size=_VERSION_BYTES).hexdigest()
    frame, sotw_at = _frame(_head(name, version), type_url, value)
    return Resource(type_url, name, version, frame, sotw_at, uses, exclusive)


def leased(published: Resource, ttl_ms: int, fallback: Resource) -> Resource:
    """Return ``published`` as one that clients drop after ``ttl_ms`` without a word of it, and ``fallback`` for those that cannot."""
    version = blake2b(f"{published.version} {ttl_ms}".encode(), digest_size=_VERSION_BYTES).hexdigest()
    frame, sotw_at = _frame(_head(published.name, version, ttl_ms), published.type_url, published.value)
    return replace(published, version=version, frame=frame, sotw_at=sotw_at, fallback=fallback, ttl_ms=ttl_ms)


def heartbeat(lease: Resource) -> bytes:
    """Return the ``resources`` field of a DeltaDiscoveryResponse that renews ``lease``: all but its message (XP-65)."""
    return field(2, _head(lease.name, lease.version, lease.ttl_ms))


def _frame(head: bytes, type_url: str, value: bytes) -> tuple[bytes, int]:
    any_field = field(2, field(1, type_url.encode()) + field(2, value))
    prefix = b"\x12" + varint(len(head) + len(any_field)) + head
    return prefix + any_field, len(prefix)


def _head(name: str, version: str, ttl_ms: int = 0) -> bytes:
    """Return the fields of envoy.service.discovery.v3.Resource but for resource = 2: version = 1, name = 3, ttl = 6."""
    head = field(3, name.encode()) + field(1, version.encode())
    if not ttl_ms:
        return head
    seconds, rest_ms = divmod(ttl_ms, 1000)
    nanos = b"\x10" + varint(rest_ms * 1_000_000) if rest_ms else b""
    return head + field(6, b"\x08" + varint(seconds) + nanos)


def unknown(type_url: str, name: str, version: str) -> Resource:
    """Return what stands for a resource that the client has from an earlier stream: what it says and uses is not known here."""
    return Resource(type_url, name, version, b"", 0)


def digest(resources: Iterable[Resource]) -> int:
    """Return a number that names and versions of ``resources`` determine, whatever their order: the sum of a hash of each.

    Digests of disjoint sets add up to the digest of their union.
    """
    total = 0
    for each in resources:
        total += int.from_bytes(blake2b(f"{each.name}\n{each.version}".encode(), digest_size=_VERSION_BYTES).digest(), "big")
    return total


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field ``number`` (below 16) that holds ``content``."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Return ``value`` (not negative) as a protobuf base-128 varint."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_bytes(buffer: bytes, at: int) -> tuple[bytes, int]:
    """Return the length-delimited content of ``buffer`` whose length begins ``at``, and where it ends."""
    size = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return buffer[at : at + size], at + size
        shift += 7
