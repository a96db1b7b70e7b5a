"""What ServiceEntries and WorkloadEntries must keep to.

https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.hosts import ANY, is_ip
from controlplane.model.protocols import parse_protocol
from controlplane.objects.networking.service_entry import ServiceEntry, ServiceEntrySpec, WorkloadEntry, WorkloadSpec
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import MAX_LABEL, is_fqdn

UNIX = "unix://"
_MAX_SOCKET = 107  # bytes: https://man7.org/linux/man-pages/man7/unix.7.html; Envoy refuses an assignment with a longer one
_CIDRS = ("NONE", "STATIC")


def check(entry: ServiceEntry) -> Iterator[Finding]:
    """Yield what is wrong with ``entry``."""
    spec = entry.spec
    yield from _hosts(spec)
    for index, address in enumerate(spec.addresses):
        path = f"spec.addresses[{index}]"
        yield from rules.subnet(path, address)
        if "/" in address and spec.resolution not in _CIDRS:
            yield rules.conflict(path, f"expected an address: blocks go with a resolution of NONE or STATIC, this is {spec.resolution}")
    yield from _ports(spec)
    yield from _endpoints(spec)
    match spec.resolution:
        case "NONE":
            if spec.endpoints:
                yield rules.conflict("spec.endpoints", "expected no endpoints with a resolution of NONE")
        case "STATIC":
            yield from _static(spec)
        case "DNS" | "DNS_ROUND_ROBIN":
            yield from _dns(spec)
        case "DYNAMIC_DNS":
            yield from _dynamic_dns(spec)
    yield from rules.export_to("spec.exportTo", spec.export_to, entry.meta.namespace, no_one=True)


def _hosts(spec: ServiceEntrySpec) -> Iterator[Finding]:
    for index, host in enumerate(spec.hosts):
        path = f"spec.hosts[{index}]"
        if host == ANY:
            yield rules.out_of_range(path, "a host name, perhaps after '*.'", host)
        yield from rules.host_name(path, host)
        if host.startswith(ANY) and not host.startswith("*."):
            yield rules.warning(path, "Ineffective", "a wildcard is whole labels: '*.' before a domain")
    if spec.resolution != "NONE" and len(spec.hosts) > 1 and not all(_names_host(port.protocol) for port in spec.ports):
        yield rules.conflict("spec.hosts", "expected one host where ports are neither HTTP nor TLS: connections do not say which they mean")


def _names_host(protocol: str) -> bool:
    """Return whether requests or connections of ``protocol`` name the host that they are for."""
    return parse_protocol(protocol).is_http or parse_protocol(protocol).is_tls


def _ports(spec: ServiceEntrySpec) -> Iterator[Finding]:
    for index, port in enumerate(spec.ports):
        path, earlier = f"spec.ports[{index}]", spec.ports[:index]
        if port.target_port and spec.resolution == "NONE" and not spec.workload_selector:
            yield rules.warning(f"{path}.targetPort", "NoEffect", "has no effect with a resolution of NONE")
        yield from rules.port_name(f"{path}.name", port.name)
        if any(port.number == other.number for other in earlier):
            yield rules.conflict(f"{path}.number", f"expected each port once, found {port.number} again")
        if any(port.name == other.name for other in earlier):
            yield rules.conflict(f"{path}.name", f"expected each port name once, found {port.name[:80]!r} again")
        if port.protocol:
            yield from rules.protocol(f"{path}.protocol", port.protocol)
    if not spec.addresses and any(port.protocol and not _names_host(port.protocol) for port in spec.ports):
        yield rules.warning("spec.addresses", "Ambiguous", "without addresses, connections are told apart by their port alone")


def _endpoints(spec: ServiceEntrySpec) -> Iterator[Finding]:
    names = {port.name for port in spec.ports}
    for index, endpoint in enumerate(spec.endpoints):
        yield from check_workload_endpoint(f"spec.endpoints[{index}]", endpoint)
        for name in endpoint.ports:
            if name not in names:
                yield rules.out_of_range(f"spec.endpoints[{index}].ports", "the names of ports of this ServiceEntry", name)
    if spec.workload_selector is not None:
        if spec.endpoints:
            yield rules.conflict("spec.endpoints", "expected one of workloadSelector and endpoints, found both")
        yield from rules.selector("spec.workloadSelector.labels", spec.workload_selector.labels)


def _static(spec: ServiceEntrySpec) -> Iterator[Finding]:
    sockets = [endpoint.address.startswith(UNIX) for endpoint in spec.endpoints]
    for index, endpoint in enumerate(spec.endpoints):
        if endpoint.address and not is_ip(endpoint.address) and not sockets[index]:
            yield rules.out_of_range(f"spec.endpoints[{index}].address", "an IP address (resolution is STATIC)", endpoint.address)
    if any(sockets) and len(spec.ports) != 1:
        yield rules.conflict("spec.ports", f"expected exactly one port with a Unix domain socket, found {len(spec.ports)}")


def _dns(spec: ServiceEntrySpec) -> Iterator[Finding]:
    if not spec.endpoints and not spec.workload_selector:
        for index, host in enumerate(spec.hosts):
            if not is_fqdn(host):
                yield rules.out_of_range(f"spec.hosts[{index}]", "a name that can be looked up, or endpoints", host)
    if spec.resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        yield rules.conflict("spec.endpoints", "expected at most one endpoint with a resolution of DNS_ROUND_ROBIN")
    for index, endpoint in enumerate(spec.endpoints):
        if endpoint.address and not is_ip(endpoint.address) and not is_fqdn(endpoint.address):
            yield rules.out_of_range(f"spec.endpoints[{index}].address", "a DNS name or an IP address", endpoint.address)


def _dynamic_dns(spec: ServiceEntrySpec) -> Iterator[Finding]:
    yield rules.warning("spec.resolution", "NotTranslated", "DYNAMIC_DNS is not translated yet: the hosts have no endpoints")
    for index, host in enumerate(spec.hosts):
        if not host.startswith(ANY):
            yield rules.out_of_range(f"spec.hosts[{index}]", "a wildcard (resolution is DYNAMIC_DNS)", host)
    for name, setting in (("endpoints", spec.endpoints), ("workloadSelector", spec.workload_selector), ("addresses", spec.addresses)):
        if setting:
            yield rules.conflict(f"spec.{name}", "expected nothing here with a resolution of DYNAMIC_DNS")


def check_workload_entry(entry: WorkloadEntry) -> Iterator[Finding]:
    """Yield what is wrong with the WorkloadEntry ``entry``."""
    yield from check_workload_endpoint("spec", entry.spec)


def check_workload_endpoint(path: str, workload: WorkloadSpec) -> Iterator[Finding]:
    """Yield what is wrong with where a workload listens."""
    address = workload.address
    if not address and not workload.network:
        yield rules.required(f"{path}.address", "an address")
    elif not address:
        yield rules.warning(f"{path}.address", "NotTranslated", "networks are not translated yet: without an address this gets no requests")
    if address.startswith(UNIX):
        yield from check_socket(f"{path}.address", address)
        if "ports" in workload.model_fields_set:
            yield rules.conflict(f"{path}.ports", "expected no ports with a Unix domain socket")
    elif address and not is_ip(address) and not is_fqdn(address):
        yield rules.out_of_range(f"{path}.address", "an IP address, a DNS name, or unix://path", address)
    for name in workload.ports:
        if len(name) == MAX_LABEL:
            yield rules.out_of_range(f"{path}.ports", f"names shorter than {MAX_LABEL} characters", name)
        yield from rules.port_name(f"{path}.ports", name)
    yield from rules.labels(f"{path}.labels", workload.labels)


def check_socket(path: str, address: str) -> Iterator[Finding]:
    """Yield what is wrong with the ``address`` of a Unix domain socket."""
    below = address.removeprefix(UNIX)
    if not below.startswith("@") and (not below.startswith("/") or below.endswith("/")):
        yield rules.out_of_range(path, "an absolute path, or @ and a name, after unix://", address)
    elif len(below.encode()) > _MAX_SOCKET:
        yield rules.out_of_range(path, f"at most {_MAX_SOCKET} bytes after unix://", address)
