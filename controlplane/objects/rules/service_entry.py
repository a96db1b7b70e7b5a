"""What ServiceEntries and WorkloadEntries must keep to. https://istio.io/latest/docs/reference/config/networking/service-entry/"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from controlplane.model.hosts import is_ip
from controlplane.model.protocols import Protocol, named
from controlplane.objects.names import fault_of_host
from controlplane.objects.review import Finding
from controlplane.objects.rules import common
from controlplane.objects.service_entry import ServiceEntry, ServiceEntrySpec, WorkloadEntry, WorkloadSpec

UNIX = "unix://"
_PORT_NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?\Z")
_MAX_PORT_NAME = 62
_DNS = ("DNS", "DNS_ROUND_ROBIN")


def check(value: ServiceEntry) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    for at, host in enumerate(spec.hosts):
        yield from common.hosts(f"spec.hosts[{at}]", host, single_star=False)
        if host in spec.hosts[:at]:
            yield common.conflict(f"spec.hosts[{at}]", f"expected each host once, found {host} again")
    for at, address in enumerate(spec.addresses):
        yield from _address(f"spec.addresses[{at}]", address, spec)
    yield from _ports(spec)
    yield from _resolution(spec)
    for at, endpoint in enumerate(spec.endpoints):
        yield from check_endpoint(f"spec.endpoints[{at}]", endpoint)
        for name in endpoint.ports:
            if name not in {port.name for port in spec.ports}:
                yield common.out_of_range(f"spec.endpoints[{at}].ports", "the names of ports of this ServiceEntry", name)
    if spec.workload_selector is not None:
        if spec.endpoints:
            yield common.conflict("spec.endpoints", "expected one of workloadSelector and endpoints, found both")
        yield from common.selector("spec.workloadSelector.labels", spec.workload_selector.labels)
    yield from common.exports("spec.exportTo", spec.export_to)


def _address(path: str, address: str, spec: ServiceEntrySpec) -> Iterator[Finding]:
    if "/" in address and spec.resolution not in ("NONE", "STATIC"):
        yield common.conflict(path, f"expected an address: CIDR blocks go with a resolution of NONE or STATIC, this is {spec.resolution}")
    try:
        ip_network(address, strict=False)
    except ValueError:
        yield common.out_of_range(path, "an IP address or a CIDR block", address)


def _ports(spec: ServiceEntrySpec) -> Iterator[Finding]:
    for at, port in enumerate(spec.ports):
        path, before = f"spec.ports[{at}]", spec.ports[:at]
        yield from common.ports(f"{path}.number", port.number)
        if port.target_port:
            yield from common.ports(f"{path}.targetPort", port.target_port)
            if spec.resolution == "NONE" and not spec.workload_selector:
                yield Finding(f"{path}.targetPort", "NoEffect", "has no effect with a resolution of NONE", fatal=False)
        if not _PORT_NAME.match(port.name):
            yield common.out_of_range(f"{path}.name", "a name of letters, digits and dashes", port.name)
        if any(port.number == each.number for each in before):
            yield common.conflict(f"{path}.number", f"expected each port once, found {port.number} again")
        if any(port.name == each.name for each in before):
            yield common.conflict(f"{path}.name", f"expected each port name once, found {port.name!r} again")
        if port.protocol and named(port.protocol) is Protocol.UNSUPPORTED:
            yield common.out_of_range(f"{path}.protocol", "a protocol such as HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS", port.protocol)
    if any(named(port.protocol) is Protocol.UNSUPPORTED or not port.protocol for port in spec.ports) or spec.addresses:
        return
    if not any(named(port.protocol).is_http or named(port.protocol) in (Protocol.HTTPS, Protocol.TLS) for port in spec.ports) and spec.ports:
        yield Finding("spec.addresses", "Ambiguous", "without addresses, ports are told apart by their number alone", fatal=False)


def _resolution(spec: ServiceEntrySpec) -> Iterator[Finding]:
    wildcard = any("*" in host for host in spec.hosts)
    match spec.resolution:
        case "NONE":
            if spec.endpoints:
                yield common.conflict("spec.endpoints", "expected no endpoints with a resolution of NONE")
        case "STATIC":
            for at, endpoint in enumerate(spec.endpoints):
                if endpoint.address and not is_ip(endpoint.address) and not endpoint.address.startswith(UNIX):
                    yield common.out_of_range(f"spec.endpoints[{at}].address", "an IP address (resolution is STATIC)", endpoint.address)
        case "DNS" | "DNS_ROUND_ROBIN":
            if wildcard and not spec.endpoints and not spec.workload_selector:
                yield common.conflict("spec.resolution", "expected endpoints: a wildcard host cannot be looked up")
            if spec.resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
                yield common.conflict("spec.endpoints", "expected at most one endpoint with a resolution of DNS_ROUND_ROBIN")
            for at, endpoint in enumerate(spec.endpoints):
                if endpoint.address.startswith(UNIX):
                    yield common.out_of_range(f"spec.endpoints[{at}].address", "a DNS name or an IP address", endpoint.address)
        case "DYNAMIC_DNS":
            if not all(host.startswith("*") for host in spec.hosts):
                yield common.out_of_range("spec.hosts", "wildcard hosts (resolution is DYNAMIC_DNS)", ", ".join(spec.hosts))
            if spec.endpoints or spec.workload_selector or spec.addresses:
                yield common.conflict("spec.resolution", "expected no endpoints, addresses or workloadSelector with DYNAMIC_DNS")


def check_workload(value: WorkloadEntry) -> Iterator[Finding]:
    """Yield what is wrong with the WorkloadEntry ``value``."""
    yield from check_endpoint("spec", value.spec)


def check_endpoint(path: str, each: WorkloadSpec) -> Iterator[Finding]:
    """Yield what is wrong with where a workload listens."""
    address = each.address
    if not address and not each.network:
        yield common.required(f"{path}.address", "an address")
    if address.startswith(UNIX):
        below = address.removeprefix(UNIX)
        if not below.startswith(("/", "@")) or below.endswith("/"):
            yield common.out_of_range(f"{path}.address", "an absolute path or an abstract socket after unix://", address)
        if each.ports:
            yield common.conflict(f"{path}.ports", "expected no ports with a Unix domain socket")
    elif address and not is_ip(address) and (":" in address or fault_of_host(address, wildcard=False)):
        yield common.out_of_range(f"{path}.address", "an IP address, a DNS name, or unix://path", address)
    for name, number in each.ports.items():
        if not _PORT_NAME.match(name) or len(name) > _MAX_PORT_NAME:
            yield common.out_of_range(f"{path}.ports", "names of letters, digits and dashes, below 63 characters", name)
        yield from common.ports(f"{path}.ports.{name}", number)
    yield from common.labels(f"{path}.labels", each.labels)
