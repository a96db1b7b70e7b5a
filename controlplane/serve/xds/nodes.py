"""Who is at the other end: from the node of a stream's first request to a Proxy, which has to agree with who came in."""

from __future__ import annotations

import logging
from dataclasses import replace

import grpc
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import MessageToDict

from controlplane.model.proxies import BadNode, Proxy, proxy_from_node
from controlplane.serve.authn.authenticate import StreamEnd
from controlplane.serve.authn.authenticators import AuthenticationFailure, Authenticator, Caller

log = logging.getLogger(__name__)


class ForeignNode(BadNode):
    """A node that is not of the identity that came in; the text is for our log."""


def proxy_of(node: Node, caller: Caller) -> Proxy:
    """Return the Proxy that ``node`` describes; raises BadNode, and NotYours where ``caller`` is another.

    Istio passes over what the metadata does not say; here a node has to say all of it, as otherwise it would be enough to say nothing.
    """
    locality = node.locality
    places = (locality.region, locality.zone, locality.sub_zone)
    metadata = MessageToDict(node.metadata)
    found = proxy_from_node(node.id, metadata, "/".join(places).rstrip("/"))
    who = caller.who
    if who is None:
        return found
    named = node.id.split("~")[2].rpartition(".")[2]
    if {found.namespace, named, metadata.get("NAMESPACE")} != {who.namespace}:
        raise ForeignNode(f"expected the namespace {who.namespace} in the node's id and in its metadata NAMESPACE")
    if metadata.get("SERVICE_ACCOUNT") != who.service_account:
        raise ForeignNode(f"expected the metadata SERVICE_ACCOUNT {who.service_account}")
    if caller.pod and caller.pod != found.name:
        raise ForeignNode(f"expected the pod {caller.pod} in the node's id")
    return replace(found, identity=who)


def authorized_proxy(node: Node, caller: Caller, authenticator: Authenticator) -> Proxy | StreamEnd:
    """Return the Proxy that ``node`` describes, or how the stream of ``caller`` ends that says so.

    ``authenticator`` is what made the caller known, and counts refusals.
    """
    try:
        return proxy_of(node, caller)
    except ForeignNode as error:
        authenticator.refused[AuthenticationFailure.NODE] += 1
        log.warning("node refused", extra={"identity": str(caller.who), "reason": str(error)})
        return StreamEnd(grpc.StatusCode.PERMISSION_DENIED, "the node is not of this identity")
    except BadNode as error:
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error))
