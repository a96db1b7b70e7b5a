"""Where connections go by any configuration, as the simulator says: nobody gets what he does not claim, and everybody what he does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from random import Random

from controlplane.simulation.resources import Resources, resources_of
from controlplane.simulation.result import Answered, AwaitsBytes, Closed, Forwarded, Landing
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import FirstBytes, PlainHttp, RawBytes, Request, Silence, TlsHello
from tests.support.proofs import cases, seed
from tests.support.simulation.manifests import PORTS, Configuration
from tests.support.simulation.messages import connection
from tests.support.simulation.translated import translated

CONFIGURATIONS = 20
NOBODY, NAME = "203.0.113.200", "nobody.test"
KINDS: tuple[FirstBytes, ...] = (RawBytes(), TlsHello(NAME), Silence(), PlainHttp())


def test_what_nobody_claims_goes_on_or_ends_by_the_policy_on_every_port(tmp_path: Path) -> None:
    wrong: list[str] = []
    for number, made, resources in worlds(tmp_path):
        for port, first_bytes in product(sorted({*PORTS, 7777} - claimed_by_port(made)), KINDS):
            unclaimed = connection(f"{NOBODY}:{port}", first_bytes)
            traffic = Request(connection=unclaimed, authority=NAME) if isinstance(first_bytes, PlainHttp) else unclaimed
            found = simulate(traffic, resources).landings
            if not found <= wanted(made, port):
                wrong.append(f"NAVARCH_SEED={seed()}, configuration {number}, {first_bytes} to port {port}: {found}")

    assert wrong == []


def test_a_server_name_leads_to_the_entry_that_has_it(tmp_path: Path) -> None:
    wrong: list[str] = []
    tried = 0
    for number, made, resources in worlds(tmp_path):
        for host, name, port in named_entries(made):
            tried += 1
            found = simulate(connection(f"{NOBODY}:{port}", TlsHello(name)), resources).landings
            if found != {Forwarded(f"outbound|{port}||{host}", frozenset([f"{NOBODY}:{port}"]))}:
                wrong.append(f"NAVARCH_SEED={seed()}, configuration {number}, {name}:{port}: {found}")
    print(f"{tried} server names")

    assert wrong == []


def worlds(folder: Path) -> Iterator[tuple[int, Configuration, Resources]]:
    """Yield random configurations by number, and what the proxy has by each."""
    for number in range(cases(CONFIGURATIONS)):
        made, messages = translated(Random(f"{seed()}/law/{number}"), folder)
        yield number, made, resources_of(messages)


def wanted(made: Configuration, port: int) -> set[Landing]:
    """Return how traffic to ``port`` that nobody claims may end."""
    if policy(made) == "ALLOW_ANY":
        return {Forwarded("PassthroughCluster", frozenset([f"{NOBODY}:{port}"])), AwaitsBytes()}
    return {Closed("BlackHoleCluster"), Answered(502), AwaitsBytes()}


def policy(made: Configuration) -> str:
    """Return what happens to unknown traffic of the proxy: its Sidecar says so, else the mesh."""
    for sidecar in specs(made, "Sidecar"):
        own = sidecar.get("outboundTrafficPolicy")
        if isinstance(own, dict):
            return str(own["mode"])
    return "REGISTRY_ONLY" if any("REGISTRY_ONLY" in str(each) for each in made.documents if each["kind"] == "ConfigMap") else "ALLOW_ANY"


def claimed_by_port(made: Configuration) -> set[int]:
    """Return the ports that somebody claims whatever the address: entries for TCP without addresses, a Sidecar's own listeners."""
    without = [spec for spec in specs(made, "ServiceEntry") if "addresses" not in spec]
    claimed = {number for spec in without for number, protocol in ports_of(spec) if protocol == "TCP"}
    if any("tcp" in spec for spec in specs(made, "VirtualService")):  # an external name has no address to be told by
        claimed |= {number for spec in specs(made, "Service") if "externalName" in spec for number in numbers_of(spec)}
    egress = [each for spec in specs(made, "Sidecar") for each in as_list(spec["egress"])]
    return claimed | {number for each in egress if (number := as_map(as_map(each).get("port")).get("number")) and isinstance(number, int)}


def named_entries(made: Configuration) -> Iterator[tuple[str, str, int]]:
    """Yield host, a server name that it covers, and port of entries that nothing but server names tells from others."""
    if specs(made, "Sidecar"):
        return  # which may not see them
    routed = str([*specs(made, "VirtualService"), *specs(made, "DestinationRule")])
    for spec in specs(made, "ServiceEntry"):
        [host] = map(str, as_list(spec["hosts"]))
        if "addresses" in spec or spec["resolution"] != "NONE" or host.removeprefix("*.") in routed:
            continue
        for number, protocol in ports_of(spec):
            if protocol in {"TLS", "HTTPS"}:
                yield host, host.replace("*", "a.b"), number


def specs(made: Configuration, kind: str) -> list[Mapping[str, object]]:
    return [as_map(each["spec"]) for each in made.documents if each["kind"] == kind]


def ports_of(spec: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    for port in map(as_map, as_list(spec["ports"])):
        yield int(str(port["number"])), str(port["protocol"])


def numbers_of(spec: Mapping[str, object]) -> Iterator[int]:
    yield from (int(str(as_map(port)["port"])) for port in as_list(spec["ports"]))


def as_map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
