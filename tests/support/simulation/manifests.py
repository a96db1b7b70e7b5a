"""Random configurations: Services, ServiceEntries, VirtualServices, DestinationRules, Sidecars and a mesh policy, often at odds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

Json = dict[str, object]
PORTS = (80, 443, 3306, 8080, 9000)
PROTOCOLS = ("http", "tcp", "tls", "https", "grpc", "", "http2", "mysql")
NAMESPACES = ("default", "shop")
OWN = "10.244.200.1"  # the address of the proxy
PATHS = ("/", "/api", "/api/v1", "/static", "/login")
HEADERS = ("x-user", "x-canary", "end-user")
VALUES = ("jane", "joe", "1", "")
METHODS = ("GET", "POST", "PUT")
_NETWORKING = "networking.istio.io/v1"


@dataclass
class Configuration:
    """Manifests, and what traffic may aim at: addresses, server names, authorities."""

    documents: list[Json] = field(default_factory=list)
    addresses: list[str] = field(default_factory=lambda: ["203.0.113.9", "192.0.2.7"])
    hosts: list[str] = field(default_factory=lambda: ["unknown.example"])
    targets: list[tuple[str, int]] = field(default_factory=list)  # what destinations may name
    own: list[str] = field(default_factory=list)  # the proxy's own addresses, where it is called by others


def configuration(random: Random) -> Configuration:
    """Return a random configuration."""
    made = Configuration()
    mode = random.choice(("ALLOW_ANY", "REGISTRY_ONLY"))
    mesh = f"outboundTrafficPolicy: {{mode: {mode}}}\n"
    made.documents.append({**_head("v1", "ConfigMap", "istio-system", "istio"), "data": {"mesh": mesh}})
    for index in range(random.randint(2, 6)):
        _add_service(random, made, index)
    for index in range(random.randint(1, 5)):
        _add_service_entry(random, made, index)
    for index in range(random.randint(0, 4)):
        _add_virtual_service(random, made, index)
    for index in range(random.randint(0, 3)):
        _add_destination_rule(random, made, index)
    if random.random() < 0.3:
        _add_sidecar(random, made)
    if random.random() < 0.6:
        _add_own_service(random, made)
    return made


def _head(version: str, kind: str, namespace: str, name: str) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def _add(made: Configuration, version: str, kind: str, namespace: str, name: str, spec: Json) -> None:
    made.documents.append({**_head(version, kind, namespace, name), "spec": spec})


def _add_service(random: Random, made: Configuration, index: int) -> None:
    namespace, name = random.choice(NAMESPACES), f"s{index}"
    host = f"{name}.{namespace}.svc.cluster.local"
    kind = random.choice(("vip", "vip", "vip", "headless", "external"))
    ports = [_service_port(random, number) for number in random.sample(PORTS, random.randint(1, 3))]
    made.hosts += [host, f"{name}.{namespace}", name]
    made.targets += [(host, int(str(port["port"]))) for port in ports]
    if kind == "external":
        _add(made, "v1", "Service", namespace, name, {"type": "ExternalName", "externalName": f"{name}.elsewhere.example", "ports": ports})
        made.hosts.append(f"{name}.elsewhere.example")
        return
    vip = "None" if kind == "headless" else f"10.96.{index}.{random.randint(1, 9)}"
    _add(made, "v1", "Service", namespace, name, {"clusterIP": vip, "selector": {"app": name}, "ports": ports})
    made.addresses += [vip] if vip != "None" else []
    _add_endpoints(random, made, namespace, name, index, ports)


def _add_own_service(random: Random, made: Configuration) -> None:
    """Add a service that the proxy itself serves."""
    ports = [_service_port(random, number) for number in random.sample(PORTS, random.randint(1, 4))]
    _add(made, "v1", "Service", "default", "own", {"clusterIP": "10.96.99.1", "selector": {"app": "client"}, "ports": ports})
    _add_slice(
        made, "default", "own", ports, [{"addresses": [OWN], "targetRef": {"kind": "Pod", "name": "client-1", "namespace": "default"}}]
    )
    pod = {**_head("v1", "Pod", "default", "client-1"), "spec": {"nodeName": "n1"}, "status": {"podIP": OWN}}
    made.documents.append({**pod, "metadata": {"name": "client-1", "namespace": "default", "labels": {"app": "client"}}})
    made.addresses.append("10.96.99.1")
    made.own.append(OWN)
    if random.random() < 0.3:
        spec: Json = {"mtls": {"mode": random.choice(("STRICT", "PERMISSIVE", "DISABLE"))}}
        _add(made, "security.istio.io/v1", "PeerAuthentication", "default", "own", spec)


def _service_port(random: Random, number: int) -> Json:
    protocol = random.choice(PROTOCOLS)
    name = f"{protocol}-{number}" if protocol else f"p{number}"
    return {"name": name, "port": number, "targetPort": random.choice((number, 8000 + number % 1000))}


def _add_endpoints(random: Random, made: Configuration, namespace: str, name: str, index: int, ports: list[Json]) -> None:
    endpoints: list[Json] = []
    for each in range(random.randint(0, 3)):
        address = f"10.244.{index}.{each + 1}"
        endpoints.append(
            {
                "addresses": [address],
                "conditions": {"ready": random.random() < 0.85},
                "hostname": f"{name}-{each}",
                "targetRef": {"kind": "Pod", "name": f"{name}-{each}", "namespace": namespace},
            }
        )
        made.addresses.append(address)
        made.hosts.append(f"{name}-{each}.{name}.{namespace}.svc.cluster.local")
        labels = {"app": name, "version": random.choice(("v1", "v2"))}
        pod = {**_head("v1", "Pod", namespace, f"{name}-{each}"), "spec": {"nodeName": "n1"}, "status": {"podIP": address}}
        made.documents.append({**pod, "metadata": {"name": f"{name}-{each}", "namespace": namespace, "labels": labels}})
    _add_slice(made, namespace, name, ports, endpoints)


def _add_slice(made: Configuration, namespace: str, name: str, ports: list[Json], endpoints: list[Json]) -> None:
    slice_of = _head("discovery.k8s.io/v1", "EndpointSlice", namespace, f"{name}-slice")
    slice_of["metadata"] = {"name": f"{name}-slice", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}}
    numbered = [{"name": port["name"], "port": port["targetPort"], "protocol": "TCP"} for port in ports]
    made.documents.append({**slice_of, "addressType": "IPv4", "ports": numbered, "endpoints": endpoints})


def _add_service_entry(random: Random, made: Configuration, index: int) -> None:
    resolution = random.choice(("NONE", "STATIC", "DNS", "NONE"))
    wild = resolution == "NONE" and random.random() < 0.4
    host = f"*.w{index}.example" if wild else f"e{index}.example"
    numbers = random.sample(PORTS, random.randint(1, 2))
    ports = [{"number": each, "name": f"p{each}", "protocol": random.choice(("HTTP", "HTTPS", "TLS", "TCP", "GRPC"))} for each in numbers]
    spec: Json = {"hosts": [host], "ports": ports, "resolution": resolution, "location": random.choice(("MESH_EXTERNAL", "MESH_INTERNAL"))}
    match random.choice(("", "vip", "block")):
        case "vip":
            spec["addresses"] = [f"172.16.{index}.1"]
            made.addresses.append(f"172.16.{index}.1")
        case "block" if resolution == "NONE":
            length = random.choice((24, 25, 28))
            spec["addresses"] = [f"172.17.0.0/{length}", *([f"172.18.{index}.0/24"] if random.random() < 0.3 else [])]
            made.addresses += ["172.17.0.1", "172.17.0.99", f"172.18.{index}.7"]
    if resolution == "STATIC":
        spec["endpoints"] = [{"address": f"198.51.100.{index * 10 + each}"} for each in range(random.randint(1, 3))]
        made.addresses.append(f"198.51.100.{index * 10}")
    made.hosts += [f"a.w{index}.example", f"a.b.w{index}.example", f"w{index}.example"] if wild else [host, f"sub.{host}"]
    made.targets += [(host, each) for each in numbers if not wild]
    _add(made, _NETWORKING, "ServiceEntry", random.choice(NAMESPACES), f"e{index}", spec)


def _destination(random: Random, made: Configuration) -> Json:
    host, port = random.choice(made.targets) if made.targets else ("nobody.example", 80)
    subset = {"subset": random.choice(("v1", "v2"))} if random.random() < 0.25 else {}
    return {"host": host, "port": {"number": port}, **subset}


def _weighted(random: Random, made: Configuration) -> list[Json]:
    count = random.choice((1, 1, 2, 3))
    weights = {1: [100], 2: [random.choice((0, 30, 100)), 70], 3: [1, 2, 3]}[count]
    return [{"destination": _destination(random, made), **({"weight": each} if count > 1 else {})} for each in weights]


def _add_virtual_service(random: Random, made: Configuration, index: int) -> None:
    hosts = random.sample(made.hosts, random.randint(1, 2))
    spec: Json = {"hosts": sorted({f"*.{host.partition('.')[2]}" if host.startswith("a.") else host for host in hosts})}
    match random.choice(("http", "http", "http", "tls", "tcp", "all")):
        case "http":
            spec["http"] = [*_http_rules(random, made)]
        case "tls":
            spec["tls"] = [_tls_rule(random, made, hosts)]
        case "tcp":
            spec["tcp"] = [_tcp_rule(random, made)]
        case _:
            spec |= {"http": [*_http_rules(random, made)], "tls": [_tls_rule(random, made, hosts)], "tcp": [_tcp_rule(random, made)]}
    _add(made, _NETWORKING, "VirtualService", random.choice(NAMESPACES), f"v{index}", spec)


def _tls_rule(random: Random, made: Configuration, hosts: list[str]) -> Json:
    match: Json = {"sniHosts": [random.choice(hosts)]}
    if random.random() < 0.5:
        match["port"] = random.choice(PORTS)
    return {"match": [match], "route": _weighted(random, made)}


def _tcp_rule(random: Random, made: Configuration) -> Json:
    match: Json = {}
    if random.random() < 0.6:
        match["port"] = random.choice(PORTS)
    if random.random() < 0.3:
        match["destinationSubnets"] = [random.choice(("10.96.0.0/16", "172.17.0.0/24", "10.96.1.0/24"))]
    return {"match": [match], "route": _weighted(random, made)} if match else {"route": _weighted(random, made)}


def _http_rules(random: Random, made: Configuration) -> Iterator[Json]:
    for _ in range(random.randint(1, 3)):
        rule: Json = {}
        if random.random() < 0.8:
            rule["match"] = [_http_match(random) for _ in range(random.randint(1, 2))]
        match random.choice(("route", "route", "route", "redirect", "direct")):
            case "route":
                rule["route"] = _weighted(random, made)
                rule |= _http_extras(random, made)
            case "redirect":
                rule["redirect"] = {"uri": "/moved", "redirectCode": random.choice((301, 302, 307))}
            case _:
                rule["directResponse"] = {"status": random.choice((200, 418, 503)), "body": {"string": "said"}}
        yield rule


def _http_match(random: Random) -> Json:
    match: Json = {}
    if random.random() < 0.8:
        path = random.choice(PATHS)
        kind = random.choice(("exact", "prefix", "regex"))
        match["uri"] = {kind: f"{path}.*[0-9]?" if kind == "regex" else path}
        match["ignoreUriCase"] = random.random() < 0.3
    if random.random() < 0.3:
        match["method"] = {"exact": random.choice(METHODS)}
    if random.random() < 0.3:
        match["headers"] = {random.choice(HEADERS): _text_match(random)}
    if random.random() < 0.2:
        match["withoutHeaders"] = {random.choice(HEADERS): _text_match(random)}
    if random.random() < 0.2:
        match["queryParams"] = {"q": _text_match(random)}
    if random.random() < 0.1:
        match["authority"] = {"prefix": random.choice("se")}
    if random.random() < 0.1:
        match["port"] = random.choice(PORTS)
    return match


def _text_match(random: Random) -> Json:
    value = random.choice(VALUES[:3])
    kinds: tuple[Json, ...] = ({"exact": value}, {"prefix": value[:1]}, {"regex": f"{value[:1]}[a-z0-9]*"}, {})
    return random.choice(kinds)


def _http_extras(random: Random, made: Configuration) -> Json:
    extras: Json = {}
    if random.random() < 0.2:
        extras["fault"] = {"abort": {"httpStatus": 418, "percentage": {"value": random.choice((0, 50, 100))}}}
    if random.random() < 0.15:
        extras["mirror"] = _destination(random, made)
    if random.random() < 0.15:
        extras["rewrite"] = {"uri": "/rewritten"}
    if random.random() < 0.3:
        extras["retries"] = {"attempts": 0}
    return extras


def _add_destination_rule(random: Random, made: Configuration, index: int) -> None:
    host, port = random.choice(made.targets) if made.targets else ("nobody.example", 80)
    spec: Json = {"host": host}
    if random.random() < 0.7:
        spec["subsets"] = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    balancer = random.choice(({"simple": "ROUND_ROBIN"}, {"simple": "PASSTHROUGH"}, {"consistentHash": {"useSourceIp": True}}))
    if random.random() < 0.5:
        spec["trafficPolicy"] = {"loadBalancer": balancer}
        if random.random() < 0.3:
            spec["trafficPolicy"] = {"portLevelSettings": [{"port": {"number": port}, "loadBalancer": balancer}]}
    _add(made, _NETWORKING, "DestinationRule", random.choice(NAMESPACES), f"d{index}", spec)


def _add_sidecar(random: Random, made: Configuration) -> None:
    egress: list[Json] = [{"hosts": random.sample(["./*", "shop/*", "*/e0.example", "*/*"], random.randint(1, 2))}]
    if random.random() < 0.4:
        protocol = random.choice(("HTTP", "TCP", "TLS"))
        egress.insert(0, {"port": {"number": random.choice(PORTS), "protocol": protocol, "name": "own"}, "hosts": ["*/*"]})
    spec: Json = {"egress": egress}
    if random.random() < 0.3:
        port = random.choice(PORTS)
        listened = {"number": port, "protocol": random.choice(("HTTP", "TCP")), "name": "in"}
        spec["ingress"] = [
            {"port": listened, "defaultEndpoint": f"{random.choice(('127.0.0.1', '0.0.0.0'))}:{random.choice((port, 8000))}"}
        ]
    if random.random() < 0.5:
        spec["outboundTrafficPolicy"] = {"mode": random.choice(("ALLOW_ANY", "REGISTRY_ONLY"))}
    _add(made, _NETWORKING, "Sidecar", "default", "own", spec)
