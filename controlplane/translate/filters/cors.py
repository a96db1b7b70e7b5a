"""Cross-origin resource sharing: ``http[].corsPolicy`` of a VirtualService."""

from __future__ import annotations

from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors, CorsPolicy
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.objects.networking.virtual_service import HTTPRoute
from controlplane.translate.common import fraction
from controlplane.translate.filters.base import HttpFilter, outbound
from controlplane.translate.matches import string_matcher

_ALWAYS = 100.0


def _of_route(route: HTTPRoute) -> CorsPolicy | None:
    given = route.cors_policy
    if given is None:
        return None
    origins = [string_matcher(each) for each in given.allow_origins] or [StringMatcher(exact=each) for each in given.allow_origin]
    policy = CorsPolicy(
        allow_origin_string_match=origins,
        allow_methods=",".join(given.allow_methods),
        allow_headers=",".join(given.allow_headers),
        expose_headers=",".join(given.expose_headers),
        filter_enabled={"default_value": fraction(_ALWAYS)},
        forward_not_matching_preflights={"value": given.unmatched_preflights != "IGNORE"},
    )
    if given.max_age is not None:
        policy.max_age = str(given.max_age // 1000)
    if given.allow_credentials is not None:
        policy.allow_credentials.value = given.allow_credentials
    return policy


CORS = HttpFilter("envoy.filters.http.cors", outbound(Cors()), _of_route)
