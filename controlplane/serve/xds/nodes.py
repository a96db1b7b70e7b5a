"""Who is at the other end: from the node of a stream's first request to a Proxy, which has to agree with who came in."""

from __future__ import annotations

import logging
from dataclasses import replace

import grpc
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import MessageToDict

from controlplane.model.proxies import BadNode, Proxy, proxy
from controlplane.serve.authn.authenticate import Ended
from controlplane.serve.authn.authenticators import Caller, Door, Refusal

log = logging.getLogger(__name__)


class NotYours(BadNode):
    """A node that is not of the identity that came in; the text is for our log."""


def proxy_of(node: Node, caller: Caller) -> Proxy:
    """Return the Proxy that ``node`` describes; raises BadNode, and NotYours where ``caller`` is another.

    Istio passes over what the metadata does not say; here a node has to say all of it, as otherwise it would be enough to say nothing.
    """
    locality = node.locality
    places = (locality.region, locality.zone, locality.sub_zone)
    metadata = MessageToDict(node.metadata)
    found = proxy(node.id, metadata, "/".join(places).rstrip("/"))
    who = caller.who
    if who is None:
        return found
    named = node.id.split("~")[2].rpartition(".")[2]
    if {found.namespace, named, metadata.get("NAMESPACE")} != {who.namespace}:
        raise NotYours(f"expected the namespace {who.namespace} in the node's id and in its metadata NAMESPACE")
    if metadata.get("SERVICE_ACCOUNT") != who.service_account:
        raise NotYours(f"expected the metadata SERVICE_ACCOUNT {who.service_account}")
    if caller.pod and caller.pod != found.name:
        raise NotYours(f"expected the pod {caller.pod} in the node's id")
    return replace(found, identity=who)


def known(node: Node, caller: Caller, door: Door) -> Proxy | Ended:
    """Return the Proxy that ``node`` describes, or how a stream ends on which ``caller``, who came in by ``door``, says that it is."""
    try:
        return proxy_of(node, caller)
    except NotYours as error:
        door.refused[Refusal.NODE] += 1
        log.warning("node refused", extra={"identity": str(caller.who), "reason": str(error)})
        return Ended(grpc.StatusCode.PERMISSION_DENIED, "the node is not of this identity")
    except BadNode as error:
        return Ended(grpc.StatusCode.INVALID_ARGUMENT, str(error))
