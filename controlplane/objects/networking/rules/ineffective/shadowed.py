"""Routes of a VirtualService that nothing comes to, as an earlier one takes all that they are for.

Of two conditions the earlier takes all that the later is for where it asks for nothing, for one thing or for all that the later asks for,
and its path covers the later's. What is covered by several together is not found: each condition is looked at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from controlplane.objects.networking.virtual_service import (
    ConnectionMatch,
    HTTPMatchRequest,
    HTTPRoute,
    L4MatchAttributes,
    StringMatch,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding

UNREACHABLE = "Unreachable"
INEFFECTIVE = "Ineffective"
_MAX_PREFIX = 256  # longer prefixes are not looked for in later paths
_Wanted = frozenset[tuple[str, object]]  # what a condition asks for beside the path: all of it must fit


@dataclass
class _Paths:
    """Where the paths that earlier conditions take are written; those whose case does not matter are kept apart."""

    places: dict[tuple[str, str], str] = field(default_factory=dict)  # by the kind of the path's condition, and its text
    lengths: set[int] = field(default_factory=set)  # of the prefixes

    def add(self, uri: StringMatch | None, place: str) -> None:
        kind, text = _kind_and_text(uri)
        self.places.setdefault((kind, text), place)
        if kind == "prefix" and len(text) <= _MAX_PREFIX:
            self.lengths.add(len(text))

    def covering(self, uri: StringMatch | None) -> str | None:
        kind, text = _kind_and_text(uri)
        found = self.places.get((kind, text)) or self.places.get(("prefix", ""))
        if found or kind == "regex":
            return found
        prefixes = (self.places.get(("prefix", text[:length])) for length in sorted(self.lengths) if length <= len(text))
        return next((place for place in prefixes if place), None)


def _kind_and_text(uri: StringMatch | None) -> tuple[str, str]:
    """Return what ``uri`` asks of a path. Every path begins with a slash, so that asking for one is asking for nothing."""
    if uri is None or uri.prefix in ("", "/"):
        return "prefix", ""
    if uri.exact is not None:
        return "exact", uri.exact
    return ("prefix", uri.prefix) if uri.prefix is not None else ("regex", uri.regex or "")


class _Requests:
    """What earlier conditions on requests take."""

    def __init__(self) -> None:
        self._paths: dict[tuple[_Wanted, bool], _Paths] = defaultdict(_Paths)  # and whether the case of the path does not matter

    def add(self, match: HTTPMatchRequest, place: str) -> None:
        self._paths[_of_request(match), match.ignore_uri_case].add(_uri(match, lower=match.ignore_uri_case), place)

    def covering(self, match: HTTPMatchRequest) -> str | None:
        """Return where a condition is written that takes all that ``match`` is for."""
        for wanted in _weaker(_of_request(match)):
            for ignores_case in (True,) if match.ignore_uri_case else (False, True):
                paths = self._paths.get((wanted, ignores_case))
                if paths and (place := paths.covering(_uri(match, lower=ignores_case))):
                    return place
        return None


def unreachable_routes(routes: Sequence[HTTPRoute]) -> Iterator[Finding]:
    """Yield, as warnings, which of ``routes``, and which of their conditions, no request reaches.

    A route that delegates takes what its delegate has routes for, which is not known here: none is hidden behind it.
    """
    taken = _Requests()
    for index, route in enumerate(routes):
        path = f"spec.http[{index}]"
        covering = []
        for position, match in enumerate(route.match or (HTTPMatchRequest(),)):
            covering.append(taken.covering(match))
            if route.delegate is None:
                taken.add(match, f"{path}.match[{position}]" if route.match else path)
        yield from _warnings(path, covering)


def unreachable_connections(field_name: str, routes: Sequence[TLSRoute | TCPRoute]) -> Iterator[Finding]:
    """Yield, as warnings, which of ``routes``, of the field ``field_name``, and which of their conditions, no connection reaches."""
    taken: dict[tuple[_Wanted, str], str] = {}
    for index, route in enumerate(routes):
        path = f"spec.{field_name}[{index}]"
        covering = []
        for position, match in enumerate(route.match or (L4MatchAttributes(),)):
            wanted, names = _of_connection(match), match.sni_hosts if isinstance(match, TLSMatchAttributes) else ("",)
            places = [next((place for each in _weaker(wanted) if (place := taken.get((each, name)))), None) for name in names]
            covering.append(next(iter(places)) if places and all(places) else None)
            for name in names:
                taken.setdefault((wanted, name), f"{path}.match[{position}]" if route.match else path)
        yield from _warnings(path, covering)


def _warnings(path: str, covering: Sequence[str | None]) -> Iterator[Finding]:
    """Yield that of the conditions of the route at ``path`` those are hidden behind what ``covering`` has for them."""
    if all(covering):
        yield rules.warning(path, UNREACHABLE, f"{covering[0]} takes all that this route is for")
        return
    for position, place in enumerate(covering):
        if place:
            yield rules.warning(f"{path}.match[{position}]", INEFFECTIVE, f"{place} takes all that this condition is for")


def _weaker(wanted: _Wanted) -> Iterator[_Wanted]:
    """Yield what asks for nothing, for one thing, and for all of ``wanted``."""
    yield frozenset()
    if len(wanted) > 1:
        yield from (frozenset((each,)) for each in wanted)
    if wanted:
        yield wanted


def _uri(match: HTTPMatchRequest, *, lower: bool) -> StringMatch | None:
    """Return the condition of ``match`` on the path, in lower case where case does not matter; an expression stays as it is."""
    uri = match.uri
    if uri is None or not lower or uri.regex is not None:
        return uri
    return StringMatch(exact=uri.exact and uri.exact.lower(), prefix=uri.prefix and uri.prefix.lower())


def _of_request(match: HTTPMatchRequest) -> _Wanted:
    texts = (("scheme", match.scheme), ("method", match.method), ("authority", match.authority))
    wanted: set[tuple[str, object]] = {text for text in texts if text[1] is not None}
    for name, conditions in (("headers", match.headers), ("withoutHeaders", match.without_headers), ("queryParams", match.query_params)):
        wanted.update((name, (header.lower() if name != "queryParams" else header, text)) for header, text in conditions.items())
    return frozenset(wanted) | _of_client(match.port, match.gateways, match.source_namespace) | _labels(match)


def _of_connection(match: ConnectionMatch) -> _Wanted:
    source = match.source_subnet if isinstance(match, L4MatchAttributes) else ""
    wanted = {("destinationSubnets", frozenset(match.destination_subnets))} if match.destination_subnets else set()
    return (
        frozenset({*wanted, *((("sourceSubnet", source),) if source else ())})
        | _of_client(match.port, match.gateways, match.source_namespace)
        | _labels(match)
    )


def _of_client(port: int, gateways: Sequence[str], namespace: str) -> _Wanted:
    given = (("port", port), ("gateways", frozenset(gateways)), ("sourceNamespace", namespace))
    return frozenset((name, value) for name, value in given if value)


def _labels(match: HTTPMatchRequest | ConnectionMatch) -> _Wanted:
    return frozenset(("sourceLabels", pair) for pair in match.source_labels.items())
