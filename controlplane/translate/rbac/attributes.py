"""The attributes of requests and connections that rules are about, and the conditions that Envoy has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from ipaddress import ip_network
from typing import Generic, TypeVar, assert_never

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from controlplane.ir.access import AccessAttribute, FilterMetadata, NamedAttribute, RequestHeader, TokenClaim
from controlplane.translate.rbac import claims, identities
from controlplane.translate.rbac.identities import Around
from controlplane.translate.rbac.text import ANY, literal, matcher, regex

M = TypeVar("M", Principal, Permission)
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
    return regex("/".join(parts.get(segment) or literal(segment) for segment in value.split("/")))


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
    wanted = ValueMatcher(list_match={"one_of": text}) if listed else text
    return Permission(
        sourced_metadata={"metadata_matcher": MetadataMatcher(filter=name, path=[{"key": segment} for segment in path], value=wanted)}
    )


def _block(value: str) -> CidrRange:
    network = ip_network(value, strict=False)
    return CidrRange(address_prefix=str(network.network_address), prefix_len={"value": network.prefixlen})


OF_CLIENTS: Mapping[NamedAttribute, Attribute[Principal]] = {
    NamedAttribute.PRINCIPAL: Attribute(identities.principal, peer=True),
    NamedAttribute.NAMESPACE: Attribute(identities.namespace, peer=True),
    NamedAttribute.ACCOUNT: Attribute(identities.account, peer=True),
    NamedAttribute.TRUST_DOMAIN: Attribute(identities.trust_domain, peer=True),
    NamedAttribute.PEER_IP: Attribute(_plain(_peer_ip)),
    NamedAttribute.CLIENT_IP: Attribute(_plain(_client_ip)),
    NamedAttribute.REQUEST_PRINCIPAL: Attribute(_plain(claims.request_principal), Needs.TOKEN),
}
OF_TARGETS: Mapping[NamedAttribute, Attribute[Permission]] = {
    NamedAttribute.HOST: Attribute(_plain(_host), Needs.REQUEST),
    NamedAttribute.METHOD: Attribute(_plain(_method), Needs.REQUEST),
    NamedAttribute.PATH: Attribute(_plain(_path), Needs.REQUEST),
    NamedAttribute.PORT: Attribute(_plain(_destination_port)),
    NamedAttribute.DESTINATION_IP: Attribute(_plain(_destination_ip)),
    NamedAttribute.SERVER_NAME: Attribute(_plain(_server_name)),
}


def of_client(attribute: AccessAttribute) -> Attribute[Principal] | None:
    """Return ``attribute`` as one of whoever asks, if it is one."""
    match attribute:
        case NamedAttribute():
            return OF_CLIENTS.get(attribute)
        case RequestHeader(name):
            return Attribute(_plain(partial(_header, name)), Needs.REQUEST)
        case TokenClaim(path):
            return Attribute(_plain(partial(claims.claim, path)), Needs.TOKEN)
        case FilterMetadata():
            return None
        case _:
            assert_never(attribute)


def of_target(attribute: AccessAttribute) -> Attribute[Permission]:
    """Return ``attribute``, which is none of whoever asks, as one of what is asked for."""
    match attribute:
        case NamedAttribute():
            return OF_TARGETS[attribute]
        case FilterMetadata(name, path):
            return Attribute(_plain(partial(_metadata, name, path)))
        case RequestHeader() | TokenClaim():
            raise ValueError(f"{attribute} is of whoever asks")
        case _:
            assert_never(attribute)
