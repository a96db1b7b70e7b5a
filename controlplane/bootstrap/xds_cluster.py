"""How an Envoy connects to its control plane: by TLS, with its token, and back again soon after an outage."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.model.hosts import is_ip

CLUSTER = "xds-grpc"  # Istio's name
TOKEN_FILE = "token-sds.json"  # noqa: S105 - the name of a file
ROOTS_FILE = "roots-sds.json"

_HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPES = "type.googleapis.com/envoy"
_TLS = f"{_TYPES}.extensions.transport_sockets.tls.v3"
# A connection whose other end has died without a word is noticed within 7 s: without this, never.
_KEEPALIVE = {"interval": "5s", "timeout": "2s"}
# Envoy's own back-off grows to 30 s: after an outage it would be that late.
_BACK_OFF = {"retry_back_off": {"base_interval": "0.25s", "max_interval": "3s"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class XdsCredentials:
    """What an Envoy authenticates by and whom it trusts: paths of files, each read anew whenever something is renamed into its folder.

    Envoy watches files for secrets only that come by SDS, so that two more files in ``secrets`` have to say where these are: those that
    ``secret_files`` returns. They never change; a pod gets them from an annotation of its own, in a volume of the downward API.
    """

    token: str
    roots: str
    secrets: str  # a folder
    server_name: str  # that the control plane's certificate must have, or its address


@dataclass(frozen=True, slots=True, kw_only=True)
class XdsServer:
    """Where the control plane is, as ``host:port``, any of ``addresses``; without ``credentials`` it is spoken to in plaintext."""

    addresses: tuple[str, ...]
    credentials: XdsCredentials | None = None
    delta: bool = True


def secret_files(credentials: XdsCredentials) -> Mapping[str, str]:
    """Return the files that have to be in the folder of secrets of ``credentials``, by name: they say where the token and the roots are."""
    roots = {
        "trusted_ca": {"filename": credentials.roots},
        "watched_directory": _folder(credentials.roots),
        "match_typed_subject_alt_names": [
            {"san_type": "IP_ADDRESS" if is_ip(credentials.server_name) else "DNS", "matcher": {"exact": credentials.server_name}}
        ],
    }
    token = {"secret": {"filename": credentials.token, "watched_directory": _folder(credentials.token)}}
    return {
        TOKEN_FILE: _secret({"name": "token", "generic_secret": token}),
        ROOTS_FILE: _secret({"name": "roots", "validation_context": roots}),
    }


def xds_grpc_service() -> dict[str, object]:
    """Return how a gRPC service of the control plane is called."""
    return {"envoy_grpc": {"cluster_name": CLUSTER, "retry_policy": _BACK_OFF}}


def xds_cluster(control_plane: XdsServer) -> dict[str, object]:
    """Return the cluster of ``control_plane``."""
    credentials = control_plane.credentials
    options: dict[str, object] = {
        "@type": f"type.googleapis.com/{_HTTP2}",
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": _KEEPALIVE}},
    }
    if credentials:
        options["http_filters"] = [_token_injector(credentials), _BEARER, _CODEC]
    named = any(_is_name(server) for server in control_plane.addresses)
    return {
        "name": CLUSTER,
        "connect_timeout": "1s",
        **({"cluster_type": _DNS} if named else {"type": "STATIC"}),
        "typed_extension_protocol_options": {_HTTP2: options},
        **({"transport_socket": _tls_socket(credentials)} if credentials else {}),
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(server)}} for server in control_plane.addresses]}],
        },
    }


def socket_address(text: str) -> dict[str, object]:
    """Return ``host:port`` as Envoy has it; an IPv6 address stands in brackets."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


# A name that does not resolve yet is asked for again as soon as a refused connection is tried again.
_DNS = {
    "name": "envoy.clusters.dns",
    "typed_config": {
        "@type": f"{_TYPES}.extensions.clusters.dns.v3.DnsCluster",
        "dns_lookup_family": "ALL",
        "dns_refresh_rate": "5s",
        "dns_failure_refresh_rate": {"base_interval": "0.25s", "max_interval": "3s"},
        "respect_dns_ttl": True,
    },
}
# The injector itself writes a scheme before the token from Envoy 1.37 on.
_TOKEN_HEADER = "x-navarch-token"  # noqa: S105 - the name of a header
_BEARER = {
    "name": "envoy.filters.http.header_mutation",
    "typed_config": {
        "@type": f"{_TYPES}.extensions.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {
            "request_mutations": [
                {
                    "append": {
                        "header": {"key": "authorization", "value": f"Bearer %REQ({_TOKEN_HEADER})%"},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                },
                {"remove": _TOKEN_HEADER},
            ]
        },
    },
}
_CODEC = {
    "name": "envoy.filters.http.upstream_codec",
    "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.upstream_codec.v3.UpstreamCodec"},
}


def _tls_socket(credentials: XdsCredentials) -> dict[str, object]:
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2"],
        "validation_context_sds_secret_config": _from_file("roots", f"{credentials.secrets}/{ROOTS_FILE}"),
    }
    # A server is asked for by its name, and not by its address. https://www.rfc-editor.org/rfc/rfc6066#section-3
    sni = {} if is_ip(credentials.server_name) else {"sni": credentials.server_name}
    context = {"@type": f"{_TLS}.UpstreamTlsContext", **sni, "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _token_injector(credentials: XdsCredentials) -> dict[str, object]:
    generic = {
        "@type": f"{_TYPES}.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": _from_file("token", f"{credentials.secrets}/{TOKEN_FILE}"),
        "header": _TOKEN_HEADER,
    }
    injector = {
        "@type": f"{_TYPES}.extensions.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    }
    return {"name": "envoy.filters.http.credential_injector", "typed_config": injector}


def _from_file(name: str, path: str) -> dict[str, object]:
    return {"name": name, "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"}}


def _secret(secret: Mapping[str, object]) -> str:
    return json.dumps({"resources": [{"@type": f"{_TLS}.Secret", **secret}]})


def _folder(path: str) -> dict[str, object]:
    return {"path": posixpath.dirname(path) or "."}


def _is_name(text: str) -> bool:
    return not is_ip(text.rpartition(":")[0].strip("[]"))
