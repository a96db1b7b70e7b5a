"""Which requests a rule is for. To which proxies a rule applies is decided before: all of this is for Envoy to compare."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.text import OptionalTextMatch

_EVERY_PATTERN = ("*", ".*", "/.*")


@dataclass(frozen=True, slots=True)
class AnyPath:
    """Whatever the path is."""


@dataclass(frozen=True, slots=True)
class ExactPath:
    """The path is ``value``."""

    value: str


@dataclass(frozen=True, slots=True)
class StringPrefix:
    """The path begins with the characters of ``value``, in the middle of a segment too, as VirtualServices mean it."""

    value: str


@dataclass(frozen=True, slots=True)
class PathPattern:
    """The whole path fits ``regex`` (RE2)."""

    regex: str


PathMatch = AnyPath | ExactPath | StringPrefix | PathPattern


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """The header ``name`` fits ``text``; ``invert``: it does not, or there is no such header."""

    name: str
    text: OptionalTextMatch
    invert: bool = False


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """The query parameter ``name`` fits ``text``."""

    name: str
    text: OptionalTextMatch


@dataclass(frozen=True, slots=True)
class ClaimMatch:
    """The claim at ``path`` of the request's token fits ``text``, or a list there has a text that does; ``invert``: none does."""

    path: tuple[str, ...]
    text: OptionalTextMatch
    invert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """Conditions that must all hold; as it is without arguments, every request fits."""

    path: PathMatch = AnyPath()
    ignore_case: bool = False  # of the path
    method: OptionalTextMatch | None = None
    scheme: OptionalTextMatch | None = None
    authority: OptionalTextMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    claims: tuple[ClaimMatch, ...] = ()

    @property
    def takes_everything(self) -> bool:
        """Return whether every request fits, so that none is left for a rule that comes after."""
        if self.method or self.scheme or self.authority or self.headers or self.query or self.claims:
            return False
        match self.path:
            case AnyPath() | StringPrefix(value="/"):
                return True
            case PathPattern(regex):
                return regex in _EVERY_PATTERN
            case _:
                return False


EVERY_REQUEST = RequestMatch()
