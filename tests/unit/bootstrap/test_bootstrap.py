"""What stands in a bootstrap; tests/live/test_bootstrap.py proves on a real Envoy what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.status_listeners import ApplicationProbe, StatusPorts
from controlplane.bootstrap.xds_cluster import XdsServer, secret_files
from controlplane.model.proxies import IpFamilies, Proxy, ProxyType, proxy_from_node
from tests.support.bootstraps import CREDENTIALS, POD

EXAMPLES = Path(__file__).parents[3] / "examples" / "envoy"


def at(settings: BootstrapSettings, *path: str | int) -> object:
    """Return what stands at ``path`` in the bootstrap by ``settings``."""
    found: object = bootstrap(settings)
    for step in path:
        if isinstance(step, int):
            assert isinstance(found, list)
            found = found[step]
        else:
            assert isinstance(found, dict)
            found = found[step]
    return found


def values(value: object) -> Iterator[object]:
    """Yield every text and number in ``value``."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from (key, *values(each))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from values(each)
    else:
        yield value


def test_a_node_says_what_the_control_plane_reads() -> None:
    node = BootstrapNode(
        name="cart-7", namespace="shop", ip="10.0.0.7", labels=(("app", "cart"),), locality="west/1", type=ProxyType.ROUTER
    )
    known: dict[str, object] = {name: at(replace(POD, node=node), "node", name) for name in ("id", "metadata", "locality", "cluster")}
    metadata = known["metadata"]
    assert isinstance(metadata, dict)

    found = proxy_from_node(str(known["id"]), metadata, "west/1")

    assert dict(found.metadata)["NAMESPACE"] == "shop"
    assert replace(found, metadata=()) == Proxy(
        id="router~10.0.0.7~cart-7.shop~shop.svc.cluster.local",
        type=ProxyType.ROUTER,
        ips=("10.0.0.7",),
        name="cart-7",
        namespace="shop",
        dns_domain="shop.svc.cluster.local",
        labels=(("app", "cart"),),
        families=IpFamilies.V4,
        locality="west/1",
        expression_limit=32768,
    )
    assert (known["cluster"], known["locality"]) == ("cart-7.shop", {"region": "west", "zone": "1"})


def test_further_metadata_is_passed_on_and_labels_are_left_out_where_the_pod_has_them() -> None:
    more = replace(POD, node=replace(POD.node, more=(("AUTO_REGISTER_GROUP", "carts"),)))

    assert at(more, "node", "metadata") == {
        "NAME": "$(POD_NAME)",
        "NAMESPACE": "shop",
        "SERVICE_ACCOUNT": "cart",
        "INTERCEPTION_MODE": "REDIRECT",
        "INSTANCE_IPS": "$(POD_IP)",
        "RE2_MAX_PROGRAM_SIZE": 32768,
        "AUTO_REGISTER_GROUP": "carts",
    }


def test_what_the_kubelet_puts_in_stands_in_texts_alone() -> None:
    references = sorted({str(each) for each in values(bootstrap(POD)) if "$(" in str(each)})

    assert references == [
        "$(HOST_IP)",
        "$(POD_IP)",
        "$(POD_NAME)",
        "sidecar~$(POD_IP)~$(POD_NAME).shop~shop.svc.cluster.local",
    ]


def test_a_control_plane_is_looked_up_by_name_and_taken_by_address() -> None:
    addressed = replace(POD, control_plane=XdsServer(addresses=("[fd00::1]:15010", "10.0.0.1:15010")))
    cluster = ("static_resources", "clusters", 0)

    assert at(POD, *cluster, "cluster_type", "name") == "envoy.clusters.dns"
    assert at(addressed, *cluster, "type") == "STATIC"
    endpoint = (*cluster, "load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint", "address", "socket_address")
    assert at(addressed, *endpoint) == {"address": "fd00::1", "port_value": 15010}


def test_a_control_plane_in_the_clear_is_shown_nothing() -> None:
    found = json.dumps(bootstrap(replace(POD, control_plane=XdsServer(addresses=("10.0.0.1:15010",)))))

    assert "credential" not in found
    assert "/own" not in found


def test_the_files_of_secrets_say_where_token_and_roots_are() -> None:
    files = {name: json.loads(text)["resources"][0] for name, text in secret_files(CREDENTIALS).items()}

    assert files["token-sds.json"]["generic_secret"] == {
        "secret": {"filename": "/own/token", "watched_directory": {"path": "/own"}},
    }
    assert files["roots-sds.json"]["validation_context"] == {
        "trusted_ca": {"filename": "/own/root-cert.pem"},
        "watched_directory": {"path": "/own"},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "navarch.navarch-system.svc"}}],
    }


def test_status_at_every_address_is_answered_by_ipv4_too() -> None:
    six = replace(POD, status=StatusPorts(host="::"))

    addresses = [at(six, "static_resources", "listeners", number, "address", "socket_address") for number in (0, 1)]

    assert addresses == [{"address": "::", "port_value": port, "ipv4_compat": True} for port in (15021, 15090)]


def test_probes_that_ask_the_same_share_a_cluster() -> None:
    http = ApplicationProbe(requested="/a", kind="http", port=8080)
    more = replace(POD, probes=(http, replace(http, requested="/b", path="/other"), replace(http, requested="/c", tls=True)))

    clusters = at(more, "static_resources", "clusters")

    assert isinstance(clusters, list)
    assert [each["name"] for each in clusters] == ["xds-grpc", "admin", "app-health|8080|http", "app-health|8080|https"]


@pytest.mark.parametrize("name", ["sidecar", "gateway"])
def test_the_examples_run_envoy_with_the_same_runtime_and_statistics(name: str) -> None:
    written = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())

    for part in ("layered_runtime", "stats_config", "deferred_stat_options"):
        assert written[part] == at(POD, part)
