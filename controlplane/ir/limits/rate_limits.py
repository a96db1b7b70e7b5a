"""How many requests workloads and gateways take: what the filters that count them are made from, and what the rate limit service is told.

Values are texts as in ``ir/access.py``: the whole of it, ``prefix*``, ``*suffix``, or ``*`` for anything that is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.access import AccessTerms


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many ``requests`` in each ``per_ms``; ``burst``: at most as many at once."""

    requests: int
    per_ms: int
    burst: int


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """The value of the header ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class PrincipalValue:
    """The identity of the certificate that the peer has shown."""


@dataclass(frozen=True, slots=True)
class AddressValue:
    """The address of the client, as trusted proxies tell it."""


CountedValue = HeaderValue | PrincipalValue | AddressValue


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """The requests that fit ``terms`` get what ``bucket`` says.

    ``by``: those with each value of it do, and for some values ``overrides`` say more or less.
    """

    name: str
    terms: AccessTerms
    bucket: Bucket
    by: CountedValue | None = None
    overrides: tuple[tuple[str, Bucket], ...] = ()


@dataclass(frozen=True, slots=True)
class LocalCount:
    """Each proxy counts for itself, at most ``max_buckets`` values of a rule apart."""

    max_buckets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalCount:
    """The rate limit service at ``cluster``, called ``host``, is asked to count in ``domain``; ``closed``: no answer refuses."""

    domain: str
    cluster: str
    host: str
    timeout_ms: int
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitResponse:
    """What is answered to whoever is over a limit; ``limit_headers``: answers say how much is left."""

    status: int
    limit_headers: bool
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """The limits that one object declares. Not ``enforced``: it is only counted who would be refused."""

    namespace: str
    name: str
    rules: tuple[LimitRule, ...]
    count: LocalCount | GlobalCount
    response: LimitResponse
    enforced: bool = True
