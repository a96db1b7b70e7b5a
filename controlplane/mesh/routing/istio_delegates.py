"""From a route that delegates and the routes of its delegate to the routes that are meant.

The delegate says what becomes of requests; what it leaves open, its root says. Its conditions must lie within the root's.
https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from controlplane.mesh.facets import qualified_host
from controlplane.mesh.gateway_bindings import gateway_name
from controlplane.objects.networking.virtual_service import Destination, HTTPMatchRequest, HTTPRoute, StringMatch
from controlplane.objects.types.scalars import FrozenMap

T = TypeVar("T")
_INHERITED = (
    "rewrite",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirror_percent",
    "deprecated_mirror_percent",
    "mirror_percentage",
    "cors_policy",
    "headers",
)
_TEXTS = ("uri", "scheme", "method", "authority")
_NO_TEXT = StringMatch()


def merged_routes(root: HTTPRoute, delegated: Sequence[HTTPRoute]) -> tuple[HTTPRoute, ...]:
    """Return ``delegated`` as routes of ``root``, less those with a condition that does not lie within the conditions of ``root``."""
    return tuple(_merged_route(root, route) for route in delegated if first_outside(root, route) is None)


def first_outside(root: HTTPRoute, delegated: HTTPRoute) -> int | None:
    """Return the position of the first match of ``delegated`` that lies within none of ``root``; ``None`` where each lies within one."""
    if not root.match:
        return None
    outside = (at for at, match in enumerate(delegated.match) if all(conflict(outer, match) for outer in root.match))
    return next(outside, None)


def merged_matches(root: Sequence[HTTPMatchRequest], delegated: Sequence[HTTPMatchRequest]) -> tuple[HTTPMatchRequest, ...]:
    """Return each of ``delegated`` with each of ``root`` within which it lies; where one of the two has none, the other's."""
    if not root or not delegated:
        return tuple(delegated or root)
    return tuple(_merged_match(outer, match) for match in delegated for outer in root if not conflict(outer, match))


def conflict(root: HTTPMatchRequest, delegated: HTTPMatchRequest) -> bool:
    """Return whether ``delegated`` does not lie within ``root``."""
    maps = (
        (root.headers, delegated.headers),
        (root.without_headers, delegated.without_headers),
        (root.query_params, delegated.query_params),
    )
    return (
        any(_outside(getattr(root, name), getattr(delegated, name)) for name in _TEXTS)
        or any(_outside(outer.get(name), inner) for outer, inner_map in maps for name, inner in inner_map.items())
        or (root.uri is not None and delegated.uri is not None and root.ignore_uri_case != delegated.ignore_uri_case)
        or (root.port > 0 and delegated.port not in (0, root.port))
        or bool(root.source_namespace and delegated.source_namespace not in ("", root.source_namespace))
        or any(root.source_labels.get(name, label) != label for name, label in delegated.source_labels.items())
        or bool(root.gateways and not set(delegated.gateways) <= set(root.gateways))
    )


def resolved_names(route: HTTPRoute, namespace: str) -> HTTPRoute:
    """Return ``route``, written in an object of ``namespace``, with names that mean the same in an object of any other."""
    return route.model_copy(
        update={
            "route": tuple(each.model_copy(update={"destination": _resolved(each.destination, namespace)}) for each in route.route),
            "mirror": _resolved(route.mirror, namespace) if route.mirror else None,
            "mirrors": tuple(each.model_copy(update={"destination": _resolved(each.destination, namespace)}) for each in route.mirrors),
            "match": tuple(
                match.model_copy(update={"gateways": tuple(gateway_name(name, namespace) for name in match.gateways)})
                for match in route.match
            ),
        }
    )


def _resolved(destination: Destination, namespace: str) -> Destination:
    return destination.model_copy(update={"host": qualified_host(destination.host, namespace)})


def _merged_route(root: HTTPRoute, delegated: HTTPRoute) -> HTTPRoute:
    inherited = {name: getattr(root, name) for name in _INHERITED if getattr(delegated, name) in (None, ())}
    matches = merged_matches(root.match, delegated.match)
    return delegated.model_copy(update={**inherited, "match": matches, "name": _joined(root.name, delegated.name)})


def _merged_match(root: HTTPMatchRequest, delegated: HTTPMatchRequest) -> HTTPMatchRequest:
    path = delegated if delegated.uri else root
    return delegated.model_copy(
        update={
            "name": _joined(root.name, delegated.name),
            "uri": path.uri,
            "ignore_uri_case": path.ignore_uri_case,
            "scheme": delegated.scheme or root.scheme,
            "method": delegated.method or root.method,
            "authority": delegated.authority or root.authority,
            "headers": _united(root.headers, delegated.headers),
            # Of two of one name the root's: it excludes what the delegate's does, and more.
            "without_headers": _united(delegated.without_headers, root.without_headers),
            "query_params": _united(root.query_params, delegated.query_params),
            "port": delegated.port or root.port,
            "source_labels": _united(root.source_labels, delegated.source_labels),
            "source_namespace": delegated.source_namespace or root.source_namespace,
            "gateways": delegated.gateways or root.gateways,
            "stat_prefix": delegated.stat_prefix or root.stat_prefix,
        }
    )


def _united(first: Mapping[str, T], last: Mapping[str, T]) -> FrozenMap[T]:
    return FrozenMap({**first, **last})


def _joined(root: str, delegated: str) -> str:
    return "-".join(name for name in (root, delegated) if name)


def _outside(root: StringMatch | None, delegated: StringMatch | None) -> bool:
    """Return whether some text may fit ``delegated`` and not ``root``. Of two patterns nobody can tell, unless they are equal."""
    if root in (None, _NO_TEXT, delegated) or delegated is None:
        return False
    literal = delegated.exact or delegated.prefix
    return not (root and root.prefix and literal and literal.startswith(root.prefix))
