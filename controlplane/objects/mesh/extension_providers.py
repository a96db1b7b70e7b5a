"""The authorizers that the mesh's settings name, for AuthorizationPolicies that are CUSTOM.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_fqdn, is_header, is_label
from controlplane.objects.types.scalars import EMPTY_MAP, Bool, Duration, Model, Port, Text, TextMap, Texts, UInt
from controlplane.objects.types.validation_errors import for_message

_STATUS = re.compile(r"[2-5][0-9]{2}\Z", re.ASCII)


class RequestBody(Model):
    """How much of a request's body an authorizer is shown."""

    max_request_bytes: Annotated[UInt, Field(ge=1)]
    allow_partial_message: Bool = False
    pack_as_bytes: Bool = False


class Authorizer(Model):
    """Where an authorizer is, and what becomes of requests while it does not answer."""

    service: Text
    port: Port
    timeout: Duration | None = None
    fail_open: Bool = False
    clear_route_cache: Bool = False
    status_on_error: Text = ""
    include_request_body_in_check: RequestBody | None = None


class GrpcAuthorizer(Authorizer):
    """An authorizer that speaks Envoy's own protocol, ``envoy.service.auth.v3.Authorization``."""


class HttpAuthorizer(Authorizer):
    """An authorizer that is asked by a request like the one in question, without its body."""

    path_prefix: Text = ""
    include_headers_in_check: Texts = ()  # of old
    include_request_headers_in_check: Texts = ()
    include_additional_headers_in_check: TextMap = EMPTY_MAP
    headers_to_upstream_on_allow: Texts = ()
    headers_to_downstream_on_allow: Texts = ()
    headers_to_downstream_on_deny: Texts = ()


class ExtensionProvider(Model):
    """An authorizer by its name; a provider of any other kind has none."""

    name: Text
    envoy_ext_authz_http: HttpAuthorizer | None = None
    envoy_ext_authz_grpc: GrpcAuthorizer | None = None

    @property
    def authorizer(self) -> HttpAuthorizer | GrpcAuthorizer | None:
        """Return who is asked."""
        return self.envoy_ext_authz_http or self.envoy_ext_authz_grpc


def check(providers: Sequence[ExtensionProvider], path: str) -> Iterator[Finding]:
    """Yield what is wrong with ``providers``, which stand at ``path``."""
    names: set[str] = set()
    for at, each in enumerate(providers):
        here = f"{path}[{at}]"
        if not each.name or each.name in names:
            yield _fault(f"{here}.name", "a name that no other provider has", each.name)
        names.add(each.name)
        if each.envoy_ext_authz_http and each.envoy_ext_authz_grpc:
            yield Finding(here, "Conflict", "expected one of envoyExtAuthzHttp and envoyExtAuthzGrpc, found both")
        if each.envoy_ext_authz_http:
            yield from _http(f"{here}.envoyExtAuthzHttp", each.envoy_ext_authz_http)
        elif each.envoy_ext_authz_grpc:
            yield from _any(f"{here}.envoyExtAuthzGrpc", each.envoy_ext_authz_grpc)


def _http(path: str, given: HttpAuthorizer) -> Iterator[Finding]:
    yield from _any(path, given)
    if given.path_prefix and (not given.path_prefix.startswith("/") or not given.path_prefix.isprintable()):
        yield _fault(f"{path}.pathPrefix", "a path that begins with /", given.path_prefix)
    for name in given.include_additional_headers_in_check:
        if not is_header(name):
            yield _fault(f"{path}.includeAdditionalHeadersInCheck", "names of headers", name)
    patterns = (
        ("includeHeadersInCheck", given.include_headers_in_check),
        ("includeRequestHeadersInCheck", given.include_request_headers_in_check),
        ("headersToUpstreamOnAllow", given.headers_to_upstream_on_allow),
        ("headersToDownstreamOnAllow", given.headers_to_downstream_on_allow),
        ("headersToDownstreamOnDeny", given.headers_to_downstream_on_deny),
    )
    for field, listed in patterns:
        for at, each in enumerate(listed):
            if not is_header(each.removeprefix("*").removesuffix("*")):
                yield _fault(f"{path}.{field}[{at}]", "the name of a header, prefix* or *suffix", each)


def _any(path: str, given: Authorizer) -> Iterator[Finding]:
    namespace, slash, host = given.service.rpartition("/")
    if not is_fqdn(host) or (slash and not is_label(namespace)):
        yield _fault(f"{path}.service", "a host, or namespace/host", given.service)
    if given.status_on_error and not _STATUS.match(given.status_on_error):
        yield _fault(f"{path}.statusOnError", "an HTTP status", given.status_on_error)


def _fault(path: str, expected: str, found: str) -> Finding:
    return Finding(path, "OutOfRange", f"expected {expected}, found {for_message(found)}")
