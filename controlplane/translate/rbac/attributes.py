"""The attributes of requests and connections that rules are about, by their names in ``when``.

https://istio.io/latest/docs/reference/config/security/conditions/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from ipaddress import ip_network
from typing import Generic, TypeVar

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from controlplane.translate.rbac import claims, identities
from controlplane.translate.rbac.identities import Around
from controlplane.translate.rbac.text import ANY, literal, matcher, regex

M = TypeVar("M", Principal, Permission)
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
_HEADERS = "request.headers["
_CLAIMS = "request.auth.claims["
_EXPERIMENTAL = "experimental."
_ONE, _ALL = "{*}", "{**}"  # segments of a path: one of any text, and any number of them


class Needs(Enum):
    """What has to be there before an attribute can be known."""

    NOTHING = "nothing"  # every connection has it
    REQUEST = "request"
    TOKEN = "token"  # noqa: S105 - of a request: it has been verified


@dataclass(frozen=True, slots=True)
class Attribute(Generic[M]):
    """Something that can be known; ``of`` gives the conditions, one of which holds where it has a value, for what is around a policy."""

    of: Callable[[str, Around], list[M]]
    needs: Needs = Needs.NOTHING
    peer: bool = False  # it is told by the certificate of the peer


def _plain(of: Callable[[str], M]) -> Callable[[str, Around], list[M]]:
    """Return ``of`` as what an attribute has whose values mean the same everywhere."""
    return lambda value, _: [of(value)]


def _peer_ip(value: str) -> Principal:
    return Principal(direct_remote_ip=_block(value))


def _client_ip(value: str) -> Principal:
    return Principal(remote_ip=_block(value))


def _destination_ip(value: str) -> Permission:
    return Permission(destination_ip=_block(value))


def _destination_port(value: str) -> Permission:
    return Permission(destination_port=int(value))


def _server_name(value: str) -> Permission:
    return Permission(requested_server_name=matcher(value))


def _host(value: str) -> Permission:
    return Permission(header=_header_matcher(":authority", value, ignore_case=True))  # RFC 3986, section 3.2.2


def _method(value: str) -> Permission:
    return Permission(header=_header_matcher(":method", value))


def _path(value: str) -> Permission:
    """Return that the path fits ``value``, which may be a template.

    Templates become expressions: Envoy has a matcher for templates, but 1.40 ends itself over one with a space or a ``|`` in it.
    """
    if value == ANY:
        return Permission(any=True)
    return Permission(url_path={"path": _template(value) if _ONE in value or _ALL in value else matcher(value)})


def _template(value: str) -> StringMatcher:
    parts = {_ONE: "[^/]+", _ALL: ".*"}
    return regex("/".join(parts.get(each) or literal(each) for each in value.split("/")))


def _header(name: str, value: str) -> Principal:
    return Principal(header=_header_matcher(name, value))


def _header_matcher(name: str, value: str, *, ignore_case: bool = False) -> HeaderMatcher:
    if value == ANY:
        return HeaderMatcher(name=name, present_match=True)
    return HeaderMatcher(name=name, string_match=matcher(value, ignore_case=ignore_case))


def _metadata(name: str, path: tuple[str, ...], value: str) -> Permission:
    """Return that another filter, ``name``, has left ``value`` in its metadata; ``[value]`` is one in a list."""
    listed = value.startswith("[") and value.endswith("]")
    text = ValueMatcher(string_match=matcher(value[1:-1] if listed else value))
    found = ValueMatcher(list_match={"one_of": text}) if listed else text
    return Permission(
        sourced_metadata={"metadata_matcher": MetadataMatcher(filter=name, path=[{"key": each} for each in path], value=found)}
    )


def _block(value: str) -> CidrRange:
    network = ip_network(value, strict=False)
    return CidrRange(address_prefix=str(network.network_address), prefix_len={"value": network.prefixlen})


PRINCIPAL = Attribute(identities.principal, peer=True)
NAMESPACE = Attribute(identities.namespace, peer=True)
ACCOUNT = Attribute(identities.account, peer=True)
TRUST_DOMAIN = Attribute(identities.trust_domain, peer=True)
PEER_IP = Attribute(_plain(_peer_ip))
CLIENT_IP = Attribute(_plain(_client_ip))
REQUEST_PRINCIPAL = Attribute(_plain(claims.request_principal), Needs.TOKEN)
HOST = Attribute(_plain(_host), Needs.REQUEST)
METHOD = Attribute(_plain(_method), Needs.REQUEST)
PATH = Attribute(_plain(_path), Needs.REQUEST)
PORT = Attribute(_plain(_destination_port))

OF_CLIENTS: Mapping[str, Attribute[Principal]] = {
    "source.ip": PEER_IP,
    "remote.ip": CLIENT_IP,
    "source.namespace": NAMESPACE,
    "source.principal": PRINCIPAL,
    "source.serviceAccount": ACCOUNT,
    "source.trustDomain": TRUST_DOMAIN,
    "request.auth.principal": REQUEST_PRINCIPAL,
    "request.auth.audiences": Attribute(_plain(partial(claims.claim, ("aud",))), Needs.TOKEN),
    "request.auth.presenter": Attribute(_plain(partial(claims.claim, ("azp",))), Needs.TOKEN),
}
OF_TARGETS: Mapping[str, Attribute[Permission]] = {
    "destination.ip": Attribute(_plain(_destination_ip)),
    "destination.port": PORT,
    "connection.sni": Attribute(_plain(_server_name)),
}


def of_client(key: str) -> Attribute[Principal] | None:
    """Return the attribute of whoever asks that ``key`` names in ``when``, if it is one."""
    if key.startswith(_HEADERS):
        return Attribute(_plain(partial(_header, key.removeprefix(_HEADERS)[:-1])), Needs.REQUEST)
    if key.startswith(_CLAIMS):
        return Attribute(_plain(partial(claims.claim, tuple(_BRACKETED.findall(key)))), Needs.TOKEN)
    return OF_CLIENTS.get(key)


def of_target(key: str) -> Attribute[Permission]:
    """Return the attribute of what is asked for that ``key`` names in ``when``."""
    if key.startswith(_EXPERIMENTAL):
        name = key.removeprefix(_EXPERIMENTAL)
        return Attribute(_plain(partial(_metadata, name.partition("[")[0], tuple(_BRACKETED.findall(name)))))
    return OF_TARGETS[key]
