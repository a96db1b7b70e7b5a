"""Cross-origin resource sharing."""

from __future__ import annotations

from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors as CorsFilter
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy

from controlplane.ir.rules import HttpRule
from controlplane.translate.addresses import ALWAYS, fraction
from controlplane.translate.filters.base import HttpFilter, outbound
from controlplane.translate.matches import string_matcher


def _of_rule(rule: HttpRule) -> CorsPolicy | None:
    cors = rule.cors
    if cors is None:
        return None  # this rule tells the filter nothing
    policy = CorsPolicy(
        allow_origin_string_match=[string_matcher(origin) for origin in cors.origins],
        allow_methods=",".join(cors.methods),
        allow_headers=",".join(cors.headers),
        expose_headers=",".join(cors.expose),
        filter_enabled={"default_value": fraction(ALWAYS)},
        forward_not_matching_preflights={"value": cors.forward_unmatched},
    )
    if cors.max_age_s is not None:
        policy.max_age = str(cors.max_age_s)
    if cors.credentials is not None:
        policy.allow_credentials.value = cors.credentials
    return policy


CORS = HttpFilter("envoy.filters.http.cors", outbound(CorsFilter()), _of_rule)
