"""Which families of addresses a captured proxy listens for: those that it says it has, or those of its Pod."""

from __future__ import annotations

import io

import pytest

from controlplane.mesh.snapshot import snapshot
from controlplane.model.proxies import IpFamilies, ip_families, proxy_from_node
from controlplane.sources.files.once import read_manifests

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
status: {phase: Running, podIP: %s, podIPs: [%s]}
"""


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        ("10.0.0.7", IpFamilies.V4),
        ("fd00::7", IpFamilies.V6),
        ("10.0.0.7,fd00::7", IpFamilies.BOTH),
        ("fd00::7,10.0.0.7", IpFamilies.BOTH),
        ("10.0.0.7,fe80::7", IpFamilies.V4),  # of the link alone
        ("127.0.0.1,fd00::7", IpFamilies.V6),  # of this machine alone
        ("127.0.0.1", IpFamilies.V4),
        ("here,fd00::7", IpFamilies.V6),
        ("", IpFamilies.V4),
    ],
)
def test_the_families_are_those_of_addresses_that_others_can_reach(addresses: str, found: IpFamilies) -> None:
    assert ip_families(addresses.split(",")) is found


def test_what_the_metadata_says_goes_before_what_the_pod_says() -> None:
    assert bound("10.0.0.7", {"INSTANCE_IPS": "10.0.0.7"}, "10.0.0.7", "fd00::7") == ["0.0.0.0"]
    assert bound("10.0.0.7", {}, "10.0.0.7", "fd00::7") == ["0.0.0.0", "::"]
    assert bound("fd00::7", {}, "fd00::7") == ["::"]


def test_what_is_not_captured_is_the_same_whatever_addresses_it_has() -> None:
    metadata = {"INTERCEPTION_MODE": "NONE"}

    alone = proxy_from_node("sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local", metadata | {"INSTANCE_IPS": "10.0.0.7"})
    both = proxy_from_node("sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local", metadata | {"INSTANCE_IPS": "10.0.0.7,fd00::7"})

    assert snapshot((), alone).resources == snapshot((), both).resources


def bound(ip: str, metadata: dict[str, object], *pod_ips: str) -> list[str]:
    """Return where ``virtualInbound`` of a proxy at ``ip`` listens, whose Pod has ``pod_ips``."""
    text = POD % (f'"{pod_ips[0]}"', ", ".join(f'{{ip: "{each}"}}' for each in pod_ips))
    _, changes = read_manifests(["-"], io.BytesIO(text.encode()))
    found = snapshot(changes, proxy_from_node(f"sidecar~{ip}~web-1.shop~shop.svc.cluster.local", metadata)).resources["listeners"]
    [listener] = [each for each in found if isinstance(each, dict) and each["name"] == "virtualInbound"]
    addresses = [listener["address"], *(each["address"] for each in listener.get("additionalAddresses", ()))]
    return [each["socketAddress"]["address"] for each in addresses]
