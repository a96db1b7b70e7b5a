"""Who may do what with a workload or a gateway, and whose tokens it believes: what the filters of its chains are made from.

Values are texts as users write them: the whole of it, ``prefix*``, ``*suffix``, or ``*`` for anything that is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class PolicyAction(StrEnum):
    """What becomes of requests that fit a policy."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class NamedAttribute(Enum):
    """What rules can ask for of every request or connection."""

    PRINCIPAL = auto()  # of the peer, by its certificate: `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`
    NAMESPACE = auto()  # of the peer, by the same
    ACCOUNT = auto()  # of the peer, by the same: `NAMESPACE/ACCOUNT`, or one of the policy's namespace
    TRUST_DOMAIN = auto()  # of the peer, by the same
    PEER_IP = auto()  # of the connection
    CLIENT_IP = auto()  # as trusted proxies tell it
    REQUEST_PRINCIPAL = auto()  # of the token: `ISSUER/SUBJECT`
    HOST = auto()
    METHOD = auto()
    PATH = auto()
    PORT = auto()  # that the connection came to
    DESTINATION_IP = auto()
    SERVER_NAME = auto()  # of the TLS handshake


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """The header ``name`` of the request."""

    name: str


@dataclass(frozen=True, slots=True)
class TokenClaim:
    """The claim at ``path`` of the request's token."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilterMetadata:
    """What another filter has left at ``path`` of its metadata; ``[value]`` is one in a list."""

    filter: str
    path: tuple[str, ...]


AccessAttribute = NamedAttribute | RequestHeader | TokenClaim | FilterMetadata


@dataclass(frozen=True, slots=True)
class AccessTerm:
    """That ``attribute`` has one of ``values``, where there are any, and none of ``others``."""

    attribute: AccessAttribute
    values: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


AccessTerms = tuple[AccessTerm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Requests that fit: one of ``sources``, one of ``operations`` (without any: all do), and ``when``."""

    sources: tuple[AccessTerms, ...] = ()
    operations: tuple[AccessTerms, ...] = ()
    when: AccessTerms = ()
    understood: bool = True  # not where something is asked for by fields that nobody knows, mistyped ones perhaps


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """One policy. ``dry_run``: it is not enforced, only counted what it would have done."""

    namespace: str
    name: str
    action: PolicyAction
    rules: tuple[AccessRule, ...]
    dry_run: bool = False
    provider: str = ""  # whom CUSTOM asks


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """Somebody whose tokens are believed, and where they are found in a request."""

    issuer: str
    keys: str | None  # as a JSON Web Key Set; None: there are none now
    audiences: tuple[str, ...] = ()
    from_headers: tuple[tuple[str, str], ...] = ()  # with what stands before the token there
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    forward: bool = False  # the application sees the token
    payload_header: str = ""  # in which the application is told what it says
    claim_headers: tuple[tuple[str, str], ...] = ()  # headers, and the claims that the application is told in them
    space_delimited: tuple[str, ...] = ()  # claims that are lists, written as a text


@dataclass(frozen=True, slots=True)
class ForwardedBody:
    """How much of a request's body an authorizer is shown; ``partial``: the beginning, where there is more."""

    max_bytes: int
    partial: bool = False
    as_bytes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAuthorization:
    """It is asked by a request like the one in question, without its body."""

    path_prefix: str = ""
    headers: tuple[str, ...] = ()  # of the request that it is told
    added_headers: tuple[tuple[str, str], ...] = ()
    to_application: tuple[str, ...] = ()  # headers of its answer that go on with what is allowed
    to_client: tuple[str, ...] = ()  # those that clients get with the application's answer
    to_refused: tuple[str, ...] = ()  # those that clients get who are refused


@dataclass(frozen=True, slots=True)
class GrpcAuthorization:
    """It speaks Envoy's own protocol, ``envoy.service.auth.v3.Authorization``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAuthorizer:
    """Who is asked by CUSTOM policies, by its ``name`` in the mesh's settings; ``cluster`` leads to ``port`` of its ``host``."""

    name: str
    host: str
    port: int
    cluster: str
    protocol: HttpAuthorization | GrpcAuthorization
    timeout_ms: int
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: int | None = None  # None: 403
    body: ForwardedBody | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainAccess:
    """The policies that hold for a chain of filters; ``trust_domains`` are the mesh's own and its aliases."""

    policies: tuple[AccessPolicy, ...] = ()
    issuers: tuple[TokenIssuer, ...] = ()
    authorizers: tuple[ExternalAuthorizer, ...] = ()  # those that there are, of the ones that policies name
    trust_domains: tuple[str, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """Return the names of the authorizers that CUSTOM policies ask, sorted."""
        return tuple(sorted({policy.provider for policy in self.policies if policy.action is PolicyAction.CUSTOM}))

    def authorizer(self, provider: str) -> ExternalAuthorizer | None:
        """Return the authorizer ``provider``, if there is one."""
        return next((authorizer for authorizer in self.authorizers if authorizer.name == provider), None)


OPEN = ChainAccess()  # nobody has said anything
