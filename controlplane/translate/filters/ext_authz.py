"""Who is asked what may be done: external authorizers, by policies that are CUSTOM.

A filter marks the requests that fit, in its metadata, and enforces nothing; the one that asks does so about those alone. Both come before
tokens are verified, so conditions on tokens are left out: there is more to ask about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import BufferSettings, ExtAuthz, HttpService
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher
from envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode

from controlplane.ir.access import ExternalAuthorizer, ForwardedBody, GrpcAuthorization, HttpAuthorization
from controlplane.translate.addresses import milliseconds
from controlplane.translate.filters import rbac
from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.rbac.rules import BEFORE_TOKENS, rules_of_provider
from controlplane.translate.rbac.text import matcher

NAME = "envoy.filters.http.ext_authz"


def marks_prefix(provider: str) -> str:
    """Return how the metadata begins that marks what ``provider`` is asked about."""
    return f"istio_ext_authz_{provider}_"


def marked(by: str, provider: str) -> MetadataMatcher:
    """Return that the filter ``by`` has marked something for ``provider``: as what it would have refused."""
    path = [{"key": f"{marks_prefix(provider)}shadow_engine_result"}]
    return MetadataMatcher(filter=by, path=path, value={"string_match": {"exact": "denied"}})


def grpc_service(authorizer: ExternalAuthorizer) -> GrpcService:
    """Return how ``authorizer`` is spoken to by Envoy's own protocol."""
    return GrpcService(
        envoy_grpc={"cluster_name": authorizer.cluster, "authority": authorizer.host}, timeout=milliseconds(authorizer.timeout_ms)
    )


def _marks(chain: Chain) -> Iterator[RBAC]:
    """Yield what marks requests for each provider; where nobody is there to be asked, what refuses them."""
    for provider in chain.access.providers:
        rules = rules_of_provider(chain.access, provider, BEFORE_TOKENS)
        if chain.access.authorizer(provider) is None:
            yield RBAC(rules=rules)
        else:
            yield RBAC(shadow_rules=rules, shadow_rules_stat_prefix=marks_prefix(provider))


def _asks(chain: Chain) -> Iterator[ExtAuthz]:
    for provider in chain.access.providers:
        if (authorizer := chain.access.authorizer(provider)) is not None:
            yield _ext_authz(authorizer)


def _ext_authz(authorizer: ExternalAuthorizer) -> ExtAuthz:
    message = ExtAuthz(
        failure_mode_allow=authorizer.fail_open,
        clear_route_cache=authorizer.clear_route_cache,
        with_request_body=_body(authorizer.body) if authorizer.body else None,
        filter_enabled_metadata=marked(rbac.NAME, authorizer.name),
        transport_api_version="V3",
    )
    if authorizer.status_on_error:
        message.status_on_error.CopyFrom(_status(authorizer.status_on_error))
    match authorizer.protocol:
        case HttpAuthorization() as http:
            message.http_service.CopyFrom(_http_service(authorizer, http))
            if headers := _any_of(http.headers):
                message.allowed_headers.CopyFrom(headers)
        case GrpcAuthorization():
            message.grpc_service.CopyFrom(grpc_service(authorizer))
        case _:
            assert_never(authorizer.protocol)
    return message


def _http_service(authorizer: ExternalAuthorizer, http: HttpAuthorization) -> HttpService:
    uri = f"http://{authorizer.host}:{authorizer.port}"
    added = [{"key": name, "value": value} for name, value in http.added_headers]
    return HttpService(
        server_uri={"uri": uri, "cluster": authorizer.cluster, "timeout": milliseconds(authorizer.timeout_ms)},
        path_prefix=http.path_prefix,
        authorization_request={"headers_to_add": added} if added else None,
        authorization_response={
            "allowed_upstream_headers": _any_of(http.to_application),
            "allowed_client_headers": _any_of(http.to_refused),
            "allowed_client_headers_on_success": _any_of(http.to_client),
        },
    )


def _status(code: int) -> HttpStatus:
    """Return the status ``code``; 403, as where nothing is said, for one that Envoy has no name for."""
    try:
        return HttpStatus(code=StatusCode.Name(code))
    except ValueError:
        return HttpStatus(code=StatusCode.Forbidden)


def _body(shown: ForwardedBody) -> BufferSettings:
    return BufferSettings(max_request_bytes=shown.max_bytes, allow_partial_message=shown.partial, pack_as_bytes=shown.as_bytes)


def _any_of(names: Iterable[str]) -> ListStringMatcher | None:
    patterns = [matcher(name, ignore_case=True) for name in names]
    return ListStringMatcher(patterns=patterns) if patterns else None


EXT_AUTHZ_SHADOW = HttpFilter(rbac.NAME, _marks)
EXT_AUTHZ = HttpFilter(NAME, _asks)
