"""From the node of a stream's first request to a Proxy, which has to agree with the authenticated caller."""

from __future__ import annotations

from dataclasses import replace

import grpc
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value

from controlplane.envoy.extensions import lacking_extensions
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.proxies import ANNOTATIONS, METADATA, BadNode, Proxy, proxy_from_node
from controlplane.serve.authn.authenticate import StreamEnd
from controlplane.serve.authn.authenticators import Caller
from controlplane.serve.authn.refused_callers import AuthenticationFailure, RefusedCaller, RefusedCallers

_MOST_LABELS = 1000
_MOST_FIELDS = 200  # of metadata, beyond which only those are looked at that have a meaning


class ForeignNode(BadNode):
    """A node that is not of the caller's identity; the text is for the log."""


def proxy_of(node: Node, caller: Caller) -> Proxy:
    """Return the Proxy that ``node`` describes; raises BadNode, and ForeignNode where ``caller`` is another.

    Istio passes over what the metadata does not say; here a node has to say all of it, as otherwise it would be enough to say nothing.
    """
    locality = node.locality
    places = (locality.region, locality.zone, locality.sub_zone)
    metadata = _metadata(node)
    described = proxy_from_node(node.id, metadata, "/".join(places).rstrip("/"))
    proxy = replace(described, envoy=_envoy_version(node), service=node.cluster, lacking=lacking_extensions(node))
    identity = caller.who
    if identity is None:
        return proxy
    id_namespace = node.id.split("~")[2].rpartition(".")[2]
    if {proxy.namespace, id_namespace, metadata.get("NAMESPACE")} != {identity.namespace}:
        raise ForeignNode(f"expected the namespace {identity.namespace} in the node's id and in its metadata NAMESPACE")
    if metadata.get("SERVICE_ACCOUNT") != identity.service_account:
        raise ForeignNode(f"expected the metadata SERVICE_ACCOUNT {identity.service_account}")
    if caller.pod and caller.pod != proxy.name:
        raise ForeignNode(f"expected the pod {caller.pod} in the node's id")
    return replace(proxy, identity=identity)


def _envoy_version(node: Node) -> EnvoyVersion | None:
    """Return the version that ``node`` says; a build without numbers says none."""
    said = node.user_agent_build_version.version
    return EnvoyVersion(said.major_number, said.minor_number, said.patch) if said.major_number else None


def _metadata(node: Node) -> dict[str, object]:
    """Return what is read of the metadata of ``node``: the rest may be long, and to look at it takes the time of all others."""
    fields = node.metadata.fields
    read = {name: fields[name] for name in METADATA if name in fields}
    if len(fields) <= _MOST_FIELDS:  # what EnvoyFilters may tell proxies by
        read |= {name: value for name, value in fields.items() if value.HasField("string_value")}
    if "LABELS" in read and len(read["LABELS"].struct_value.fields) > _MOST_LABELS:
        raise BadNode(f"metadata LABELS: expected at most {_MOST_LABELS}")
    if "ANNOTATIONS" in read:
        annotations = read["ANNOTATIONS"].struct_value.fields
        of_proxies = Struct(fields={name: annotations[name] for name in ANNOTATIONS if name in annotations})
        read["ANNOTATIONS"] = Value(struct_value=of_proxies)
    return {name: MessageToDict(value) for name, value in read.items()}


def authorized_proxy(node: Node, caller: Caller, address: str, refused: RefusedCallers) -> Proxy | StreamEnd:
    """Return the Proxy that ``node`` describes, or how the stream of ``caller``, from ``address``, ends that names it.

    Whoever is not let in is noted among the ``refused``.
    """
    identity = caller.who.uri if caller.who else ""
    try:
        return proxy_of(node, caller)
    except ForeignNode as error:
        failure, reason = AuthenticationFailure.NODE, str(error)
        refused.note(RefusedCaller(address=address, failure=failure, reason=reason, node=node.id, identity=identity))
        return StreamEnd(grpc.StatusCode.PERMISSION_DENIED, "the node is not of this identity")
    except BadNode as error:
        failure, reason = AuthenticationFailure.BAD_NODE, str(error)
        refused.note(RefusedCaller(address=address, failure=failure, reason=reason, node=node.id, identity=identity))
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error))
