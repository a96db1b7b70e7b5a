"""RateLimit: how many requests workloads and gateways take. A kind of our own, as Istio has none; see docs/rate-limits.md."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, Strict

from controlplane.model.keys import RATE_LIMIT, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import MAX_INT32, Duration, Host, Model, Port, Text
from controlplane.objects.types.selectors import PolicyAttachment

MOST_RULES = 64
MOST_BUCKETS = 10_000
_Pattern = Annotated[Text, Field(min_length=1, max_length=1024)]
_Patterns = Annotated[tuple[_Pattern, ...], Field(max_length=64)]
_Header = Annotated[Text, Field(min_length=1, max_length=256)]
_Count = Annotated[int, Strict(), Field(ge=1, le=MAX_INT32)]


class RulePart(Model):
    """A part of a rule; a field that nobody knows is an error, as it may be a mistyped condition, without which everything is counted."""

    model_config = ConfigDict(extra="forbid")


class HeaderCondition(RulePart):
    """A header of a request: it is there, has one of values, and none of notValues. Values are written as paths are."""

    name: _Header
    values: _Patterns = ()
    not_values: _Patterns = ()


class SourceCondition(RulePart):
    """Whom a request is from, by the certificate of its connection: a request without one has no principal and no namespace."""

    principals: Annotated[_Patterns, Field(description="As in an AuthorizationPolicy: TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT.")] = ()
    not_principals: _Patterns = ()
    namespaces: Annotated[_Patterns, Field(description="Whole names, NAME* or *.")] = ()
    not_namespaces: _Patterns = ()


class RequestCondition(RulePart):
    """Which requests a rule counts: all that is given must fit, of each list one value; what is left out fits every request."""

    paths: Annotated[_Patterns, Field(description="Without the query: whole paths, PREFIX*, *SUFFIX, or *.")] = ()
    methods: Annotated[_Patterns, Field(description="As GET: methods differ by case.")] = ()
    headers: Annotated[tuple[HeaderCondition, ...], Field(max_length=16)] = ()
    source: SourceCondition | None = None


class Limit(Model):
    """So many requests in so much time.

    A local limit is a bucket of tokens that fills continuously: requests in each period, and at most burst at once (without it: requests).
    A global limit counts in fixed periods, which are 1s, 1m, 1h or 24h.
    """

    requests: _Count
    per: Duration
    burst: _Count | None = None


class LimitOverride(Model):
    """Another limit for one value."""

    value: Annotated[Text, Field(min_length=1, max_length=1024)]
    limit: Limit


class PerValue(RulePart):
    """What each value of has a limit of its own: a header, or the source of the request. Requests without a value share one limit."""

    header: Annotated[Text, Field(max_length=256)] = ""
    source: Annotated[
        Literal["Principal", "Address"] | None,
        Field(description="The identity of the caller's certificate, or the address of the client."),
    ] = None
    overrides: Annotated[tuple[LimitOverride, ...], Field(max_length=64)] = ()


class RateLimitRule(RulePart):
    """A limit on the requests that fit; without match on all of them.

    Every rule that fits a request counts it, whatever their order: it passes if each of them has room. A rule that is to leave requests to
    another one says so by notValues, notPrincipals and their like, or by an override of a value.
    """

    name: Annotated[Text, Field(max_length=63, description="As metrics of the rate limit service have it; else its position.")] = ""
    match: RequestCondition | None = None
    per_value: PerValue | None = None
    limit: Limit


class LocalCounting(Model):
    """Each port of each proxy counts for itself."""

    max_buckets: Annotated[
        int,
        Strict(),
        Field(ge=1, le=MOST_BUCKETS, description="Values of a perValue that a proxy counts apart; beyond it forgets the least recent."),
    ] = 1000


class RateLimitServer(Model):
    """Envoy's rate limit service, by the host and the port of a service of the mesh."""

    host: Annotated[Host, Field(min_length=1, max_length=255)]
    port: Port


class GlobalCounting(Model):
    """All proxies ask one rate limit service, so that they count together."""

    service: RateLimitServer
    timeout: Annotated[Duration, Field(description="For the answer of the service; then it counts as one that failed.")] = 100


class ResponseHeader(Model):
    """A header that is added to the answer."""

    name: _Header
    value: Annotated[Text, Field(max_length=1024)]


class RateLimitResponse(Model):
    """What a request gets that is over a limit."""

    status: Annotated[int, Strict(), Field(ge=400, le=511)] = 429
    limit_headers: Annotated[
        bool,
        Strict(),
        Field(description="Answers say what is left (x-ratelimit-limit, -remaining, -reset), and when to try again (retry-after)."),
    ] = True
    headers: Annotated[tuple[ResponseHeader, ...], Field(max_length=16)] = ()


class RateLimitSpec(PolicyAttachment):
    """How many requests workloads and gateways take: those that selector or targetRefs name, or all of the namespace.

    In the root namespace those of the whole mesh. Requests that policies refuse are not counted.
    """

    rules: Annotated[tuple[RateLimitRule, ...], Field(max_length=MOST_RULES)]
    mode: Annotated[
        Literal["Enforce", "DryRun"],
        Field(description="DryRun counts what would be refused, in the proxies' metrics, and refuses nothing."),
    ] = "Enforce"
    failure: Annotated[
        Literal["Open", "Closed"],
        Field(
            description="What becomes of requests while nobody can count them, as the rate limit service does not answer or this object"
            " cannot be used: they pass, or are answered 503."
        ),
    ] = "Open"
    local: LocalCounting | None = None
    global_: GlobalCounting | None = Field(default=None, alias="global")
    response: RateLimitResponse = RateLimitResponse()


class RateLimit(KubernetesObject):
    """How many requests workloads and gateways take."""

    group_kind: ClassVar[GroupKind] = RATE_LIMIT

    spec: RateLimitSpec


class ClosedRateLimit(KubernetesObject):
    """What stands for one that cannot be used and is to fail closed: everything that it is for is refused."""

    group_kind: ClassVar[GroupKind] = RATE_LIMIT

    spec: PolicyAttachment = PolicyAttachment()
