"""What the admin API answers, as its clients see it."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel


def iso_time(at: float) -> str:
    """Return ``at``, in seconds since the epoch, as ISO 8601 has it, in UTC: 2026-01-31T12:00:00.000000Z."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant: TypeAlias = Annotated[  # seconds since the epoch; clients get ISO 8601
    float,
    PlainSerializer(iso_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class Schema(BaseModel):
    """JSON in lowerCamelCase."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class ProblemRow(Schema):
    """One thing wrong with one field of one object."""

    object: str | None
    field: str
    severity: str
    code: str
    message: str
    file: str | None
    line: int | None


class ObjectRow(Schema):
    """One object that is in effect, and where it stands."""

    object: str
    kind: str
    namespace: str
    name: str
    file: str | None
    line: int | None


class TypeState(Schema):
    """What one stream was sent of one type, and what it said to that."""

    type: str
    type_url: str
    sent: str | None
    acked: str | None
    nacked: str | None
    error: str | None
    sent_at: Instant | None
    acked_at: Instant | None
    nacked_at: Instant | None
    resources: int
    sent_bytes: int

    @property
    def refuses(self) -> bool:
        """Whether the last answer was a refusal."""
        return self.nacked_at is not None and self.nacked_at > (self.acked_at or 0.0)


class Connection(Schema):
    """One stream of a proxy."""

    connection: int
    wire: str
    connected_at: Instant
    types: tuple[TypeState, ...]


class DeferralRow(Schema):
    """An object with rules that stay as they were, as what their new version leads to is not there."""

    object: str
    since: Instant
    until: Instant  # at most
    waiting_for: tuple[str, ...]


class ProxyRow(Schema):
    """One proxy that is connected."""

    id: str
    envoy: str | None  # its version; none: its node does not say it
    identity: str | None  # a URI; none: it came by plaintext, and gets nothing secret
    synced: bool
    connections: tuple[Connection, ...]
    reported_at: Instant | None = None  # when it has last said what it sends
    held_back: tuple[DeferralRow, ...] = ()
    registered: str | None = None  # the WorkloadEntry that it has asked for, or why there is none


class RefusedCallerRow(Schema):
    """A caller that was not let in, as often as it has come; what it says of itself is not verified."""

    address: str
    failure: str  # as the metric navarch_callers_refused names it
    reason: str
    node: str  # by which it called itself; empty where it did not come so far
    identity: str | None  # that it has proved
    times: int
    first_at: Instant
    last_at: Instant


class LoadRow(Schema):
    """The traffic that proxies report to one locality of one cluster: since they began, and a second as their last reports have it."""

    cluster: str
    locality: str
    proxies: int
    requests: int
    errors: int
    requests_per_second: float
    errors_per_second: float
    estimated_latency_ms: float | None  # from how many requests are under way


class RootRow(Schema):
    """One root that is trusted."""

    root: str  # the first half of the SHA-256 of its PEM
    signs: bool
    expires_at: Instant
    issuer_expires_at: Instant  # of the certificate that signs below it, or its own


class WaitingFor(Schema):
    """For whom a rotation waits: proxies that are to accept the bundle, or to have a certificate by who signs now."""

    bundle: int
    certificate: int
    namespaces: int = 0  # whose pods may not have the bundle among their files


class IdentityRow(Schema):
    """The authority as this control plane has it, without anything secret."""

    phase: str
    bundle: str
    roots: tuple[RootRow, ...]
    waiting_for: WaitingFor
    certificates: int  # in use
    issued: int
    requests: dict[str, int]  # to sign a key of somebody's own, by what became of them
    first_expires_at: Instant | None
    refused: dict[str, int]  # callers that were not let in, by reason
    credentials: dict[str, int]  # that proxies have asked for: those that they have (held), and those that they cannot have (unusable)


class IssuerRow(Schema):
    """Where an issuer of tokens publishes its keys, and how fetching them goes."""

    uri: str
    usable: bool  # keys are there, if not the newest: without any, all its tokens are refused
    age_s: float | None
    failures: int  # in a row
    error: str | None
    again_in_s: float


class ModuleRow(Schema):
    """A module in WebAssembly that objects name, and how fetching it goes."""

    url: str
    usable: bool
    age_s: float | None
    failures: int  # in a row
    error: str | None
    again_in_s: float


class OriginRow(Schema):
    """A field of an object that a resource comes from, and where it stands."""

    object: str
    field: str
    file: str | None
    line: int | None


class ResourceOrigins(Schema):
    """Where a resource comes from: what says most of it first."""

    name: str
    objects: tuple[OriginRow, ...]


class ResourceRow(Schema):
    """One resource as a proxy is sent it; the message is proto3 JSON."""

    name: str
    version: str
    resource: dict[str, object]


class ChangedObjectRow(Schema):
    """An object of a change."""

    object: str
    change: str  # created, changed or deleted


class ResourceName(Schema):
    """A resource, by the name of its message."""

    type: str
    name: str


class HistoryRow(Schema):
    """One change: objects that changed together, what came of them, and which proxies have it."""

    number: int
    at: Instant  # when it was noticed
    sources: tuple[str, ...]
    objects: tuple[ChangedObjectRow, ...]  # the first of them
    object_count: int
    resources: tuple[ResourceName, ...]  # that came out different; the first of them
    resource_count: int
    proxies: int  # streams that were told of it
    waiting: int  # of which have not accepted all of it yet
    refused: int  # responses
    failed: bool  # by an internal error
    seconds: float | None  # until the last answer; none: it is awaited, or there was nobody to tell


class ManifestChange(Schema):
    """An object between two moments, as manifests; none: it was not there."""

    before: dict[str, object] | None
    after: dict[str, object] | None
    object: str
