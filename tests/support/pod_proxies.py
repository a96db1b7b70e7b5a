"""Proxies of pods at a real API server: service accounts, tokens bound to pods, and streams that show them."""

from __future__ import annotations

import contextlib
import json
import urllib.error
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.envoy.type_urls import SDS
from tests.support.cluster import Cluster
from tests.support.control_plane import DeltaCall, Running, next_delta
from tests.support.secure_control_plane import asking, stream
from tests.support.waiting import at_most


@dataclass(frozen=True)
class Workload:
    """A pod with a service account of its own."""

    cluster: Cluster
    namespace: str
    account: str
    pod: str
    uid: str

    @classmethod
    def made(cls, cluster: Cluster, namespace: str, account: str, pod: str = "") -> Workload:
        """Make the service account and a pod of it."""
        cluster.namespace(namespace)
        with contextlib.suppress(urllib.error.HTTPError):
            cluster.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": account}})
        pod = pod or f"{account}-1"
        spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}]}
        found = cluster.call("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": pod}, "spec": spec})
        metadata = found["metadata"]
        assert isinstance(metadata, dict)
        return cls(cluster, namespace, account, pod, str(metadata["uid"]))

    def token(self, audience: str = "istio-ca", *, bound: bool = True) -> str:
        """Return a token of the account, ``bound`` to the pod."""
        spec: dict[str, object] = {"audiences": [audience], "expirationSeconds": 3600}
        if bound:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": self.pod, "uid": self.uid}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.cluster.call("POST", f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.account}/token", body)
        status = answer["status"]
        assert isinstance(status, dict)
        return str(status["token"])

    def may_list_secrets(self) -> None:
        """Allow the account to list the Secrets of its namespace."""
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
        subject = {"kind": "ServiceAccount", "name": self.account, "namespace": self.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.account}
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        self.cluster.call("POST", f"{path}/roles", {"metadata": {"name": self.account}, "rules": rules})
        self.cluster.call("POST", f"{path}/rolebindings", {"metadata": {"name": self.account}, "roleRef": role, "subjects": [subject]})

    def delete(self) -> None:
        """Delete the pod, at once: there is no kubelet that would let it end."""
        self.cluster.call("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}", {"gracePeriodSeconds": 0})

    def node(self, **other: str) -> dict[str, object]:
        """Return the node of the pod's proxy, as JSON, with ``other`` metadata."""
        metadata = {"NAMESPACE": self.namespace, "SERVICE_ACCOUNT": self.account, "INTERCEPTION_MODE": "NONE", **other}
        return {"id": f"sidecar~10.0.0.1~{self.pod}.{self.namespace}~{self.namespace}.svc.cluster.local", "metadata": metadata}


def apply(cluster: Cluster, namespace: str, value: dict[str, object]) -> None:
    """Have ``value`` in ``namespace``."""
    cluster.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(value))


def roots_of(running: Running) -> bytes:
    """Return the roots that proxies of ``running`` trust."""
    identity_server = running.plane.identity_server
    assert identity_server is not None
    return identity_server.manager.state.bundle


@contextlib.asynccontextmanager
async def ads(running: Running, token: str) -> AsyncIterator[DeltaCall]:
    """Open a Delta stream by TLS, with ``token``."""
    assert running.at.xds_tls
    async with stream(running.at.xds_tls, grpc.ssl_channel_credentials(roots_of(running)), token=token) as call:
        yield call


async def secrets_of(running: Running, workload: Workload, *names: str) -> dict[str, Secret]:
    """Return what a proxy of ``workload`` gets that asks for the secrets ``names``, its own where none is named."""
    async with ads(running, workload.token()) as call:
        await call.write(asking(SDS, workload.node(), *(names or ("default", "ROOTCA"))))
        answer = await next_delta(call, at_most(5.0))
        return {each.name: Secret.FromString(each.resource.value) for each in answer.resources}
