"""Who is asked what may be done: authorizers, by AuthorizationPolicies that are CUSTOM.

A filter marks the requests that fit, in its metadata, and enforces nothing; the one that asks does so about those alone. Both come before
tokens are verified, so conditions on tokens are left out: there is more to ask about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import BufferSettings, ExtAuthz, HttpService
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher
from envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from google.protobuf.duration_pb2 import Duration

from controlplane.objects.mesh.extension_providers import GrpcAuthorizer, HttpAuthorizer, RequestBody
from controlplane.translate.access import Asked
from controlplane.translate.common import milliseconds
from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.filters.rbac import NAME
from controlplane.translate.rbac.rules import BEFORE_TOKENS, rules_of_provider
from controlplane.translate.rbac.text import matcher

EXT_AUTHZ = "envoy.filters.http.ext_authz"
_PATIENCE_MS = 600_000  # Istio's, where nothing is said


def marks_prefix(provider: str) -> str:
    """Return how the metadata begins that marks what ``provider`` is asked about."""
    return f"istio_ext_authz_{provider}_"


def marked(by: str, provider: str) -> MetadataMatcher:
    """Return that the filter ``by`` has marked something for ``provider``: as what it would have refused."""
    path = [{"key": f"{marks_prefix(provider)}shadow_engine_result"}]
    return MetadataMatcher(filter=by, path=path, value={"string_match": {"exact": "denied"}})


def grpc_service(asked: Asked) -> GrpcService:
    """Return how ``asked`` is spoken to by Envoy's own protocol."""
    return GrpcService(envoy_grpc={"cluster_name": asked.cluster, "authority": asked.host}, timeout=_timeout(asked))


def _marks(chain: Chain) -> Iterator[RBAC]:
    """Yield what marks requests for each provider; where nobody is there to be asked, what refuses them."""
    for provider in chain.access.providers:
        rules = rules_of_provider(chain.access, provider, BEFORE_TOKENS)
        if chain.access.asked(provider) is None:
            yield RBAC(rules=rules)
        else:
            yield RBAC(shadow_rules=rules, shadow_rules_stat_prefix=marks_prefix(provider))


def _asks(chain: Chain) -> Iterator[ExtAuthz]:
    for provider in chain.access.providers:
        if (asked := chain.access.asked(provider)) is not None:
            yield _ext_authz(asked)


def _ext_authz(asked: Asked) -> ExtAuthz:
    given = asked.authorizer
    found = ExtAuthz(
        failure_mode_allow=given.fail_open,
        clear_route_cache=given.clear_route_cache,
        with_request_body=_body(given.include_request_body_in_check),
        filter_enabled_metadata=marked(NAME, asked.name),
        transport_api_version="V3",
    )
    if given.status_on_error:
        found.status_on_error.CopyFrom(_status(given.status_on_error))
    match given:
        case HttpAuthorizer():
            found.http_service.CopyFrom(_http_service(asked, given))
            if headers := _any_of((*given.include_headers_in_check, *given.include_request_headers_in_check)):
                found.allowed_headers.CopyFrom(headers)
        case GrpcAuthorizer():
            found.grpc_service.CopyFrom(grpc_service(asked))
    return found


def _http_service(asked: Asked, given: HttpAuthorizer) -> HttpService:
    added = sorted(given.include_additional_headers_in_check.items())
    return HttpService(
        server_uri={"uri": f"http://{asked.host}:{given.port}", "cluster": asked.cluster, "timeout": _timeout(asked)},
        path_prefix=given.path_prefix,
        authorization_request={"headers_to_add": [{"key": name, "value": value} for name, value in added]} if added else None,
        authorization_response={
            "allowed_upstream_headers": _any_of(given.headers_to_upstream_on_allow),
            "allowed_client_headers": _any_of(given.headers_to_downstream_on_deny),
            "allowed_client_headers_on_success": _any_of(given.headers_to_downstream_on_allow),
        },
    )


def _status(text: str) -> HttpStatus:
    """Return the status ``text``; 403, as where nothing is said, for one that Envoy has no name for."""
    try:
        return HttpStatus(code=StatusCode.Name(int(text)))
    except ValueError:
        return HttpStatus(code=StatusCode.Forbidden)


def _timeout(asked: Asked) -> Duration:
    return milliseconds(asked.authorizer.timeout or _PATIENCE_MS)


def _body(given: RequestBody | None) -> BufferSettings | None:
    if given is None:
        return None
    return BufferSettings(
        max_request_bytes=given.max_request_bytes, allow_partial_message=given.allow_partial_message, pack_as_bytes=given.pack_as_bytes
    )


def _any_of(names: Iterable[str]) -> ListStringMatcher | None:
    patterns = [matcher(each, ignore_case=True) for each in names]
    return ListStringMatcher(patterns=patterns) if patterns else None


MARKED = HttpFilter(NAME, _marks)
ASKED = HttpFilter(EXT_AUTHZ, _asks)
