"""What an Envoy has to be told before it can ask: who it is, and where the control plane is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ADMIN_PORT = 15000
HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
# Envoy's own back-off grows to 30 s: after an outage it would be that late. A silently dead control plane is noticed in 5 s.
_BACK_OFF = {"retry_back_off": {"base_interval": "0.25s", "max_interval": "3s"}}
_KEEPALIVE = {"interval": "5s", "timeout": "2s"}
_TYPES = "type.googleapis.com/envoy"
_TLS = f"{_TYPES}.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an Envoy shows and whom it believes: files in ``folder``, read anew whenever one of them is replaced."""

    folder: Path

    @property
    def token(self) -> Path:
        """Return the file with the token."""
        return self.folder / "token"

    @property
    def roots(self) -> Path:
        """Return the file with the roots."""
        return self.folder / "root-cert.pem"

    def write(self, *, token: str, roots: str) -> None:
        """Replace the files: each by renaming, which is what Envoy watches for."""
        self.folder.mkdir(exist_ok=True)
        watched = {"path": str(self.folder)}
        secrets = {
            "token-sds.json": {"name": "token", "generic_secret": {"secret": {"filename": str(self.token), "watched_directory": watched}}},
            "roots-sds.json": {
                "name": "roots",
                "validation_context": {
                    "trusted_ca": {"filename": str(self.roots)},
                    "watched_directory": watched,
                    "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "localhost"}}],
                },
            },
        }
        found = {name: json.dumps({"resources": [{"@type": f"{_TLS}.Secret", **secret}]}) for name, secret in secrets.items()}
        for name, content in {"token": token, "root-cert.pem": roots, **found}.items():
            draft = self.folder / f".{name}"
            draft.write_text(content)
            draft.rename(self.folder / name)

    def secret(self, name: str) -> dict[str, object]:
        """Return where the secret ``name`` is read."""
        source = {"path_config_source": {"path": str(self.folder / f"{name}-sds.json")}, "resource_api_version": "V3"}
        return {"name": name, "sds_config": source}


def bootstrap(
    node_id: str,
    metadata: Mapping[str, object],
    *,
    xds: Sequence[str],
    admin: str,
    delta: bool = True,
    credentials: Credentials | None = None,
) -> dict[str, object]:
    """Return the bootstrap of an Envoy ``node_id`` with Istio's ``metadata``, served by one of ``xds``; its admin API is at ``admin``.

    With ``credentials`` it comes by TLS and shows its token.
    """
    return {
        "node": {"id": node_id, "cluster": str(metadata.get("NAME", "proxy")), "metadata": dict(metadata)},
        "admin": {"address": _address(admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc", "retry_policy": _BACK_OFF}}],
            },
            "cds_config": _ADS,
            "lds_config": _ADS,
        },
        "static_resources": {"clusters": [_control_plane(xds, credentials)]},
    }


def _control_plane(xds: Sequence[str], credentials: Credentials | None) -> dict[str, object]:
    options: dict[str, object] = {
        "@type": f"type.googleapis.com/{HTTP2}",
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": _KEEPALIVE}},
    }
    if credentials:
        options["http_filters"] = [_shows(credentials), _CODEC]
    return {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {HTTP2: options},
        **({"transport_socket": _by_tls(credentials)} if credentials else {}),
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(each)}} for each in xds]}],
        },
    }


def _by_tls(credentials: Credentials) -> dict[str, object]:
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2"],
        "validation_context_sds_secret_config": credentials.secret("roots"),
    }
    context = {"@type": f"{_TLS}.UpstreamTlsContext", "sni": "localhost", "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _shows(credentials: Credentials) -> dict[str, object]:
    generic = {
        "@type": f"{_TYPES}.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": credentials.secret("token"),
        "header_value_prefix": "Bearer ",
    }
    injector = {
        "@type": f"{_TYPES}.extensions.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    }
    return {"name": "envoy.filters.http.credential_injector", "typed_config": injector}


_CODEC = {
    "name": "envoy.filters.http.upstream_codec",
    "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.upstream_codec.v3.UpstreamCodec"},
}


def _address(text: str) -> dict[str, object]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
