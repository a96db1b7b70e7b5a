"""What the kinds of Kubernetes itself must keep to: the API server has checked those that it has, but not those in files.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address

from controlplane.model.hosts import is_ip
from controlplane.model.protocols import Protocol, protocol_of
from controlplane.model.revisions import REVISION_LABEL
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, KubernetesServicePort, Namespace, Pod
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.metadata_rules import ANY_ENDPOINT
from controlplane.objects.types.names import is_fqdn, is_label
from controlplane.objects.types.validation_errors import for_message

_INJECTION, _OF_POD = "istio-injection", "sidecar.istio.io/inject"
_LABELS = (_INJECTION, REVISION_LABEL, "istio.io/dataplane-mode", "istio.io/use-waypoint", "topology.istio.io/network")
_SIMILAR = 0.85
_HINTS = ("inj", "ist", "sidecar", "rev", "dataplane", "waypoint", "network")
_VERSIONS = {"IPv4": 4, "IPv6": 6}
_TRANSPORTS = ("TCP", "UDP", "SCTP")


def check_service(service: KubernetesService) -> Iterator[Finding]:
    """Yield what is wrong with the Service ``service``."""
    spec = service.spec
    yield from _ports(spec.ports)
    yield from _protocols(service)
    addresses = [("clusterIP", spec.cluster_ip), *((f"clusterIPs[{index}]", address) for index, address in enumerate(spec.cluster_ips))]
    for name, address in addresses:
        if address not in ("", "None") and not is_ip(address):
            yield rules.out_of_range(f"spec.{name}", "an IP address, or None", address)
    if spec.internal_traffic_policy == "Local":
        yield rules.warning("spec.internalTrafficPolicy", "NotTranslated", f"has no effect: {ANY_ENDPOINT}")
    if spec.traffic_distribution:
        yield rules.warning("spec.trafficDistribution", "NotTranslated", f"has no effect: {ANY_ENDPOINT}")
    if spec.type == "ExternalName" and not is_fqdn(spec.external_name) and not is_ip(spec.external_name):
        yield rules.out_of_range("spec.externalName", "a DNS name", spec.external_name)


def _ports(ports: Sequence[KubernetesServicePort]) -> Iterator[Finding]:
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        path, number = f"spec.ports[{index}]", (port.port, port.protocol)
        if port.name and not is_label(port.name):
            yield rules.out_of_range(f"{path}.name", "a name of letters, digits and dashes", port.name)
        if port.name in names:
            yield rules.conflict(f"{path}.name", f"expected each port to have a name of its own, found {port.name[:80]!r} again")
        if number in numbers:
            yield rules.conflict(f"{path}.port", f"expected each port once, found {port.port} again")
        names.add(port.name)
        numbers.add(number)
        if port.protocol not in _TRANSPORTS:
            yield rules.out_of_range(f"{path}.protocol", "TCP, UDP or SCTP", port.protocol)


def _protocols(service: KubernetesService) -> Iterator[Finding]:
    """Yield, as warnings, which ports of ``service``, another name of something outside, do not say what they carry."""
    for index, port in enumerate(service.spec.ports if service.spec.type == "ExternalName" else ()):
        if protocol_of(port.port, port.name, port.app_protocol, port.protocol) is Protocol.UNSUPPORTED:
            message = "expected a name that begins with a protocol, as http-web, or appProtocol: it is found out by the first bytes"
            yield rules.warning(f"spec.ports[{index}].name", "UnknownProtocol", message)


def check_namespace(namespace: Namespace) -> Iterator[Finding]:
    """Yield, as warnings, which labels of ``namespace`` do not say what they seem to say of injection.

    https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
    """
    labels, path = namespace.meta.labels, "metadata.labels"
    written = labels.get(_INJECTION)
    if written is not None and written not in ("enabled", "disabled"):
        message = f"expected enabled or disabled, found {for_message(written)}: its pods get no proxy by this"
        yield rules.warning(f"{path}.{_INJECTION}", "Ineffective", message)
    if written is not None and REVISION_LABEL in labels:
        message = f"expected one of {_INJECTION} and {REVISION_LABEL}: beside {_INJECTION} it has no effect"
        yield rules.warning(f"{path}.{REVISION_LABEL}", "Conflict", message)
    if _OF_POD in labels:
        yield rules.warning(
            f"{path}.{_OF_POD}", "MisplacedLabel", f"has no effect on a namespace: it is for pods, {_INJECTION} for namespaces"
        )
    yield from _misspelt(labels, (*_LABELS, _OF_POD))


def _misspelt(labels: Mapping[str, str], known: tuple[str, ...]) -> Iterator[Finding]:
    for name in labels:
        if not any(hint in name.lower() for hint in _HINTS):
            continue  # most labels of most pods, told apart quickly
        similar = get_close_matches(name.lower(), known, 1, _SIMILAR)
        if similar and name not in known:
            yield rules.warning(f"metadata.labels.{name}", "UnknownLabel", f"no such label: {similar[0]}?")


def check_slice(endpoint_slice: EndpointSlice) -> Iterator[Finding]:
    """Yield what is wrong with the EndpointSlice ``endpoint_slice``."""
    if (version := _VERSIONS.get(endpoint_slice.address_type)) is None:
        # FQDN is Kubernetes' third type, deprecated: Envoy takes addresses alone in what EDS gives it.
        yield rules.out_of_range("addressType", "IPv4 or IPv6", endpoint_slice.address_type)
        return
    for index, endpoint in enumerate(endpoint_slice.endpoints):
        for address_index, address in enumerate(endpoint.addresses):
            if not is_ip(address) or ip_address(address).version != version:
                yield rules.out_of_range(
                    f"endpoints[{index}].addresses[{address_index}]", f"an {endpoint_slice.address_type} address", address
                )


def check_pod(pod: Pod) -> Iterator[Finding]:
    """Yield what is wrong with the Pod ``pod``; as warnings, what its labels seem to say of injection and do not."""
    labels, path = pod.meta.labels, "metadata.labels"
    written = labels.get(_OF_POD, "true")
    if written not in ("true", "false"):
        yield rules.warning(f"{path}.{_OF_POD}", "Ineffective", f"expected true or false, found {for_message(written)}")
    if _INJECTION in labels:
        yield rules.warning(f"{path}.{_INJECTION}", "MisplacedLabel", f"has no effect on a pod: it is for namespaces, {_OF_POD} for pods")
    yield from _misspelt(labels, (_OF_POD, _INJECTION, REVISION_LABEL))
    for address in pod.ips:
        if not is_ip(address):
            yield rules.out_of_range("status.podIP", "an IP address", address)
