"""Namespaces whose pods get no proxy, pods that should have one and have none, and containers whose traffic passes by it."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import of_kind
from controlplane.mesh.inputs import index
from controlplane.mesh.registry.endpoints import PEER_LABEL
from controlplane.mesh.registry.injected_namespaces import asks_for_injection, has_proxies
from controlplane.model.keys import NAMESPACE, POD
from controlplane.model.problems import Problem, Severity
from controlplane.model.proxies import IGNORED_NAMESPACES, PROXY_CONTAINER, TPROXY_MARK
from controlplane.objects.kubernetes.core import Namespace, Pod, SecurityContext

_INJECT = "sidecar.istio.io/inject"
_PROXY_USER = TPROXY_MARK  # whose connections iptables let pass, unless its container says another


def namespace_problems(db: Database, namespace: Namespace) -> Iterator[Problem]:
    """Yield that nobody has said whether the pods of ``namespace``, of which there are some, get a proxy, and none has one."""
    name = namespace.key.name
    if name in IGNORED_NAMESPACES or asks_for_injection(db, namespace.key) is not None:
        return
    if index(db, of_kind(POD, name)) and not has_proxies(db, name):
        message = "neither istio-injection nor istio.io/rev is set, and none of its pods has a proxy: none of them is in the mesh"
        yield Problem(namespace.key, "metadata.labels", Severity.INFO, "NotInjected", message)


def pod_problems(db: Database, pod: Pod) -> Iterator[Problem]:
    """Yield that ``pod`` has no proxy though it should, or has containers whose traffic passes by it."""
    ended = pod.status.phase in ("Succeeded", "Failed")
    if not pod.spec.containers or pod.spec.host_network or ended or pod.key.namespace in IGNORED_NAMESPACES:
        return
    proxy = pod.proxy_container
    if proxy is None and _is_to_have_proxy(db, pod):
        message = "it is to have a proxy by the labels of its namespace or its own, and has none: nobody injected it when it was made"
        yield Problem(pod.key, "spec.containers", Severity.WARNING, "NoProxy", message)
    if proxy is not None or _is_to_have_proxy(db, pod):
        yield from _bypasses(pod, proxy.security_context if proxy else None)


def _is_to_have_proxy(db: Database, pod: Pod) -> bool:
    """Return whether somebody asks for a proxy for ``pod``, which does not say that it has one.

    https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
    """
    label, mutual = PEER_LABEL
    own = pod.meta.labels.get(_INJECT) or pod.meta.annotations.get(_INJECT)
    asked = asks_for_injection(db, NAMESPACE.key("", pod.key.namespace))
    if own == "false" or asked is False or pod.meta.labels.get(label) == mutual:
        return False
    return asked is True or pod.meta.labels.get(_INJECT) == "true"


def _bypasses(pod: Pod, of_proxy: SecurityContext | None) -> Iterator[Problem]:
    user = (of_proxy.run_as_user if of_proxy else None) or _PROXY_USER
    of_pod = pod.spec.security_context or SecurityContext()
    for position, container in enumerate(pod.spec.containers):
        own = container.security_context or SecurityContext()
        written = own.run_as_user if own.run_as_user is not None else of_pod.run_as_user
        if container.name != PROXY_CONTAINER and written == user:
            path = f"spec.containers[{position}].securityContext" if own.run_as_user is not None else "spec.securityContext"
            message = f"container {container.name} runs as user {user}, which is its proxy's: what it sends passes by the proxy"
            yield Problem(pod.key, f"{path}.runAsUser", Severity.WARNING, "ReservedUser", message)
