"""Random policies of one workload, and calls that aim at what they ask for."""

from __future__ import annotations

from random import Random

from tests.support.simulation.bed import INBOUND_NETWORK
from tests.support.simulation.inner import Call
from tests.support.simulation.manifests import OWN, Configuration, Json
from tests.support.simulation.mutual import Certificates

IDENTITIES = (
    "spiffe://cluster.local/ns/default/sa/a",
    "spiffe://cluster.local/ns/default/sa/b",
    "spiffe://cluster.local/ns/shop/sa/a",
    "spiffe://other.example/ns/shop/sa/c",
)
PORTS = {"http": 9080, "tcp": 9090, "": 9100}
_PRINCIPALS = (
    *("cluster.local/ns/default/sa/a", "cluster.local/ns/shop/*", "*/sa/a", "*", "cluster.local/*"),
    *("other.example/ns/shop/sa/c", "cluster.local/ns/default/sa/b"),
)
_NAMESPACES = ("default", "shop", "sh*", "*op", "*")
_ACCOUNTS = ("default/a", "b", "shop/c")
_BLOCKS = (f"10.{INBOUND_NETWORK}.0.0/16", f"10.{INBOUND_NETWORK}.1.0/24", "192.0.2.0/24", f"10.{INBOUND_NETWORK}.2.7", "0.0.0.0/0")
_PATHS = ("/", "/api/*", "*/v1", "/api/v1", "/api/{*}/x", "/api/{**}", "*")
_ASKED_PATHS = ("/", "/api/v1", "/api/v2/x", "/api/a/b/x", "/v1", "/api?q=1", "/api/v1?q=/v1", "/API/v1", "/api//v1", "/x/../api/v1")
_HOSTS = ("web", "*.example", "web:*", "a.example", "*")
_ASKED_HOSTS = ("web", "WEB", "a.example", "b.example:80", "web:9080")
_METHODS = ("GET", "POST", "*", "PU*")
_ASKED_METHODS = ("GET", "POST", "PUT")
_VALUES = ("jane", "j*", "*e", "*", "joe")
_FORWARDED = ("192.0.2.1", "198.51.100.1, 192.0.2.9", "nonsense", f"10.{INBOUND_NETWORK}.1.1")
_NAMES = ("web.example", "a.example", "")


def policies(random: Random) -> Configuration:
    """Return a workload with three ports, and policies for it."""
    made = Configuration(own=[OWN])
    aliases = random.choice(([], ["other.example"]))
    made.documents = [_config_map(aliases), *_workload()]
    for number in range(random.randint(1, 4)):
        made.documents.append(_policy(random, number))
    if random.random() < 0.7:
        made.documents.append(_peer_authentication(random))
    if random.random() < 0.3:
        rules = [{"issuer": "https://issuer.example", "jwks": '{"keys": []}'}]
        made.documents.append(_object("RequestAuthentication", "tokens", {"jwtRules": rules}))
    return made


def access_call(random: Random, files: Certificates) -> tuple[Call, str]:
    """Return a random call to the workload, and the identity of the client, which may have none."""
    principal = random.choice((*files.clients, ""))
    secured = random.random() < 0.6
    is_http = random.random() < 0.75
    announced = ["istio-http/1.1", "istio"] if is_http else ["istio"]
    headers = [(name, random.choice(("jane", "joe", ""))) for name in ("x-user", "x-canary") if random.random() < 0.4]
    if random.random() < 0.3:
        headers.append(
            ("x-forwarded-for", random.choice(("192.0.2.1", "198.51.100.1, 192.0.2.9", "nonsense", f"10.{INBOUND_NETWORK}.1.1")))
        )
    kind = "http1" if is_http else "raw"
    return {
        "source": f"10.{INBOUND_NETWORK}.{random.randint(0, 3)}.{random.choice((7, random.randint(1, 250)))}",
        "destination": OWN,
        "port": random.choice((*PORTS.values(), 9999)),
        "kind": f"mtls-{kind}" if secured else kind,
        "server_name": random.choice(_NAMES) if secured else "",
        "protocols": announced if secured else [],
        "method": random.choice(_ASKED_METHODS),
        "authority": random.choice(_ASKED_HOSTS),
        "path": random.choice(_ASKED_PATHS),
        "headers": headers,
        "certificate": str(files.clients[principal]) if secured and principal else "",
    }, principal if secured else ""


def _config_map(aliases: list[str]) -> Json:
    mesh = f"trustDomainAliases: {aliases}\n" if aliases else "{}\n"
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": mesh}}


def _workload() -> list[Json]:
    ports = [{"name": f"{protocol or 'p'}-{number}", "port": number, "targetPort": number} for protocol, number in PORTS.items()]
    labels = {"app": "client", "security.istio.io/tlsMode": "istio"}
    head: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client-1", "namespace": "default", "labels": labels}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "own", "namespace": "default"},
            "spec": {"clusterIP": "10.96.99.1", "selector": {"app": "client"}, "ports": ports},
        },
        {**head, "spec": {"nodeName": "n1"}, "status": {"podIP": OWN}},
    ]


def _object(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def _peer_authentication(random: Random) -> Json:
    spec: Json = {"mtls": {"mode": random.choice(("STRICT", "PERMISSIVE", "DISABLE"))}}
    if random.random() < 0.4:
        ports = {str(random.choice(list(PORTS.values()))): {"mode": random.choice(("STRICT", "PERMISSIVE", "DISABLE"))}}
        spec |= {"selector": {"matchLabels": {"app": "client"}}, "portLevelMtls": ports}
    return _object("PeerAuthentication", "own", spec)


def _policy(random: Random, number: int) -> Json:
    spec: Json = {"action": random.choice(("ALLOW", "ALLOW", "DENY", "AUDIT"))}
    rules = [_rule(random) for _ in range(random.randint(0, 3))]
    if rules or spec["action"] == "ALLOW":
        spec["rules"] = rules
    return _object("AuthorizationPolicy", f"policy-{number}", spec)


def _rule(random: Random) -> Json:
    rule: Json = {}
    if random.random() < 0.7:
        rule["from"] = [{"source": _some(random, _SOURCES)} for _ in range(random.randint(1, 2))]
    if random.random() < 0.6:
        rule["to"] = [{"operation": _some(random, _OPERATIONS)} for _ in range(random.randint(1, 2))]
    if random.random() < 0.4:
        rule["when"] = [_when(random) for _ in range(random.randint(1, 2))]
    return rule


_SOURCES: dict[str, tuple[str, ...]] = {
    "principals": _PRINCIPALS,
    "namespaces": _NAMESPACES,
    "serviceAccounts": _ACCOUNTS,
    "ipBlocks": _BLOCKS,
    "remoteIpBlocks": _BLOCKS,
    "requestPrincipals": ("*", "https://issuer.example/jane"),
}
_OPERATIONS: dict[str, tuple[str, ...]] = {
    "methods": _METHODS,
    "paths": _PATHS,
    "hosts": _HOSTS,
    "ports": tuple(map(str, (*PORTS.values(), 9999))),
}
_CONDITIONS: dict[str, tuple[str, ...]] = {
    "request.headers[x-user]": _VALUES,
    "request.headers[x-canary]": _VALUES,
    "source.ip": _BLOCKS,
    "remote.ip": _BLOCKS,
    "source.principal": _PRINCIPALS,
    "source.namespace": _NAMESPACES,
    "destination.ip": (OWN, "10.0.0.0/8", "192.0.2.0/24"),
    "destination.port": tuple(map(str, PORTS.values())),
    "connection.sni": ("web.example", "*.example", "*"),
    "request.auth.claims[iss]": ("*", "x"),
}


def _some(random: Random, fields: dict[str, tuple[str, ...]]) -> Json:
    """Return values for one or two of ``fields``, or what they must not have."""
    found: Json = {}
    for name in random.sample(sorted(fields), random.choice((1, 1, 2))):
        negated = random.random() < 0.25 and name != "requestPrincipals"
        key = f"not{name[0].upper()}{name[1:]}" if negated else name
        found[key] = random.sample(fields[name], random.randint(1, 2))
    return found


def _when(random: Random) -> Json:
    key = random.choice(sorted(_CONDITIONS))
    values = random.sample(_CONDITIONS[key], random.randint(1, 2))
    return {"key": key, "notValues" if random.random() < 0.3 else "values": values}
