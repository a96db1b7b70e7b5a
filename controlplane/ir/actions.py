"""What a rule does with a request: forwards it, redirects the client, or answers."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.backends import Mirror, Weighted

DEFAULT_ATTEMPTS = 2  # Istio's
DEFAULT_CONDITIONS = ("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes")


@dataclass(frozen=True, slots=True)
class FullPath:
    """The path becomes ``value``."""

    value: str


@dataclass(frozen=True, slots=True)
class SwapPrefix:
    """What the match has found of the path becomes ``value``."""

    value: str


@dataclass(frozen=True, slots=True)
class Substitute:
    """What fits ``regex`` (RE2) in the path becomes ``by``."""

    regex: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often, when and where a failed request is tried again."""

    attempts: int = DEFAULT_ATTEMPTS
    conditions: tuple[str, ...] = DEFAULT_CONDITIONS  # by Envoy's names
    codes: tuple[int, ...] = ()  # statuses that are failures, for the condition `retriable-status-codes`
    per_try_timeout_ms: int | None = None  # None: the rule's own timeout covers all tries
    backoff_ms: int | None = None  # None: Envoy's
    other_hosts: bool = True  # not the one that has failed
    other_localities: bool = False


@dataclass(frozen=True, slots=True)
class HeaderHash:
    """Requests with the same header ``name`` go to the same endpoint."""

    name: str


@dataclass(frozen=True, slots=True)
class CookieHash:
    """Requests with the same cookie ``name`` go to the same endpoint; with ``ttl_ms``, one that has none is given one."""

    name: str
    path: str = ""
    ttl_ms: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class QueryHash:
    """Requests with the same query parameter ``name`` go to the same endpoint."""

    name: str


@dataclass(frozen=True, slots=True)
class AddressHash:
    """Requests from the same address go to the same endpoint."""


HashKey = HeaderHash | CookieHash | QueryHash | AddressHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """The request goes to one of ``backends``, by their weights; there is at least one, and each of several has a weight."""

    backends: tuple[Weighted, ...]
    mirrors: tuple[Mirror, ...] = ()
    path: SwapPrefix | Substitute | None = None  # None: as it was
    authority: str = ""  # what it becomes, whatever the backend says; empty: as the backend says
    timeout_ms: int = 0  # 0: there is none
    retry: Retry | None = None  # None: it is not tried again
    hashes: tuple[HashKey, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError where there is no backend: such a rule has no meaning, and Envoy no route for it."""
        if not self.backends:
            raise ValueError("a request is forwarded to at least one backend")


@dataclass(frozen=True, slots=True)
class FixedPort:
    """A redirect names the port ``number``."""

    number: int


@dataclass(frozen=True, slots=True)
class ListenerPort:
    """A redirect names the port that the request came in at."""


@dataclass(frozen=True, slots=True)
class KeepPort:
    """A redirect says nothing of a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """The client is sent elsewhere; what is empty stays as in its request."""

    code: int = 301
    scheme: str = ""
    authority: str = ""
    path: FullPath | SwapPrefix | None = None
    port: FixedPort | ListenerPort | KeepPort = KeepPort()


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers itself; ``body`` is a text or bytes, ``None`` without any."""

    status: int
    body: str | bytes | None = None


Action = Forward | Redirect | Answer
