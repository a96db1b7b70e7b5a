"""A mesh of manifests alone: every pod has its proxy, which has what a real one would be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controlplane.errors import UserError
from controlplane.explain.explain import Sight
from controlplane.explain.origins import Locate, Origins
from controlplane.incremental.database import Failed
from controlplane.mesh.gateway.gateways import gateway_selector, gateways_selecting
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.identity import BadIdentity, Identity
from controlplane.model.keys import POD, Key
from controlplane.model.proxies import Proxy, ProxyType, proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.kubernetes.core import Pod
from controlplane.xds.stream import Variant

_MODE = "sidecar.istio.io/interceptionMode"


class UnknownProxy(UserError, ValueError):
    """No pod of the manifests is called so; the message says which there are."""


class WrittenMesh:
    """The mesh that ``changes`` make, if they are all there is."""

    def __init__(self, changes: Iterable[Change], locate: Locate) -> None:
        """Work out nothing yet; ``locate`` says where fields are written."""
        self.mesh = Mesh()
        self.mesh.apply(split(changes)[0])
        self._sessions: dict[str, Session] = {}
        self._pods = {pod.key: pod for pod in self._all_pods()}
        self.sight = Sight(self.mesh, Origins(self.mesh, locate), self._session_at)

    def _all_pods(self) -> Iterator[Pod]:
        for key in self.mesh.keys:
            if key.group_kind == POD and isinstance(pod := self.mesh.object(key), Pod) and pod.ips and not pod.ended:
                yield pod

    def session(self, proxy: Proxy) -> Session:
        """Return the session of ``proxy``, with all that it is sent."""
        known = self._sessions.get(proxy.id)
        if known is None:
            known = self._sessions[proxy.id] = self.mesh.connect(proxy, Variant.DELTA)
            self.mesh.refresh()
        return known

    def session_named(self, name: str) -> Session:
        """Return the session of the pod ``name``, POD.NAMESPACE or what that begins with; raises UnknownProxy."""
        return self.session(self.proxy_of(self._named(name)))

    def proxies(self) -> tuple[Proxy, ...]:
        """Return the proxies of all pods."""
        return tuple(self.proxy_of(pod) for pod in self._pods.values())

    def proxy_of(self, pod: Pod) -> Proxy:
        """Return the proxy beside the application of ``pod``; a pod that a Gateway selects is a gateway itself."""
        kind = ProxyType.ROUTER if self._is_gateway(pod) else ProxyType.SIDECAR
        node = f"{kind.value}~{pod.ips[0]}~{pod.key.name}.{pod.key.namespace}~{pod.key.namespace}.svc.cluster.local"
        mode = pod.meta.annotations.get(_MODE)
        metadata: dict[str, object] = {
            "LABELS": dict(pod.meta.labels),
            "ANNOTATIONS": dict(pod.meta.annotations),
            "INSTANCE_IPS": ",".join(pod.ips),
            **({"INTERCEPTION_MODE": mode} if mode else {}),
        }
        return self.identified(proxy_from_node(node, metadata), pod.spec.service_account_name or "default")

    def _is_gateway(self, pod: Pod) -> bool:
        db = self.mesh.database
        selecting = db.attempt(gateways_selecting, tuple(sorted(pod.meta.labels.items())))
        return not isinstance(selecting, Failed) and any(db.attempt(gateway_selector, key) for key in selecting)

    def identified(self, proxy: Proxy, account: str) -> Proxy:
        """Return ``proxy`` with the identity of ``account``, if that is one."""
        try:
            return replace(proxy, identity=Identity(self.mesh.settings().trust_domain, proxy.namespace, account))
        except BadIdentity:
            return proxy

    def _named(self, name: str) -> Pod:
        full = {f"{key.name}.{key.namespace}": pod for key, pod in self._pods.items()}
        if name in full:
            return full[name]
        short, _, namespace = name.partition(".")
        found = [pod for key, pod in self._pods.items() if key.name == name or _begins(key, short, namespace)]
        if len(found) == 1:
            return found[0]
        there = ", ".join(sorted(full)[:10]) or "none that has an address"
        what = f"{name!r} can be {len(found)} pods" if found else f"no pod {name!r} is in these manifests"
        raise UnknownProxy(f"{what}: there is {there}")

    def _session_at(self, ip: str) -> Session | None:
        pod = next((pod for pod in self._pods.values() if ip in pod.ips), None)
        return self.session(self.proxy_of(pod)) if pod is not None else None


def _begins(key: Key, short: str, namespace: str) -> bool:
    return key.name.startswith(f"{short}-") and namespace in {"", key.namespace}
