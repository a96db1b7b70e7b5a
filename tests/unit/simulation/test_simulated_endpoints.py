"""Which endpoints of a cluster may get a connection, rule by rule of Envoy's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2 import Config
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from google.protobuf.json_format import MessageToDict

from controlplane.envoy.packing import pack
from controlplane.simulation.resources import ResourceMessage, resources_of
from controlplane.simulation.result import Closed, Forwarded, Landing, Undecided
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import RawBytes
from tests.support.simulation.messages import (
    Json,
    assignment,
    cluster,
    connection,
    endpoint,
    http,
    listener,
    request,
    table,
    tcp,
    virtual_outbound,
)

VERSIONS = [endpoint("1.1.1.1:1", version="1"), endpoint("1.1.1.2:1", version="1"), endpoint("1.1.1.3:1", version="2", zone="z")]
SELECTORS = [{"keys": ["version"]}, {"keys": ["version", "zone"]}]


def landing(own: Cluster, *more: ClusterLoadAssignment, criteria: Json | None = None) -> Landing:
    proxy = {"cluster": "a", "metadata_match": {"filter_metadata": {"envoy.lb": criteria}}} if criteria else {"cluster": "a"}
    messages: list[ResourceMessage] = [virtual_outbound(), listener("0.0.0.0", 80, tcp("", name="chain", proxy=proxy)), own, *more]
    [outcome] = simulate(connection("10.96.0.1:80", RawBytes()), resources_of(messages)).outcomes
    return outcome.landing


def listed(*localities: Json, **fields: object) -> Cluster:
    own = cluster("a", **fields)
    own.load_assignment.CopyFrom(assignment("a", *localities))
    return own


def last(found: Landing) -> set[str]:
    """Return the last numbers of the addresses of the endpoints."""
    return {each.partition(":")[0].rpartition(".")[2] for each in found.endpoints} if isinstance(found, Forwarded) else set()


def test_a_cluster_that_is_missing_or_empty_closes_the_connection() -> None:
    assert landing(cluster("b", "1.1.1.1:1")) == Closed("a")
    assert landing(cluster("a")) == Closed("a")


def test_endpoints_come_from_the_cluster_or_by_eds_by_the_name_of_its_service() -> None:
    found = assignment("service", {"lb_endpoints": [endpoint("1.1.1.1:1")]})

    assert landing(cluster("a", "1.1.1.1:1", type="STRICT_DNS")) == Forwarded("a", frozenset(["1.1.1.1:1"]))
    assert landing(cluster("a", type="EDS", eds_cluster_config={"service_name": "service"}), found) == Forwarded(
        "a", frozenset(["1.1.1.1:1"])
    )
    assert landing(cluster("a", type="EDS"), found) == Closed("a")


def test_the_original_destination_is_kept_and_its_port_may_be_overridden() -> None:
    assert landing(cluster("a", type="ORIGINAL_DST")) == Forwarded("a", frozenset(["10.96.0.1:80"]))
    assert landing(cluster("a", type="ORIGINAL_DST", original_dst_lb_config={"upstream_port_override": 81})) == Forwarded(
        "a", frozenset(["10.96.0.1:81"])
    )


def test_the_original_destination_is_unknown_where_nothing_was_captured() -> None:
    bound = listener("0.0.0.0", 80, tcp("a"), bind_to_port=True)
    direct = replace(connection("10.96.0.1:80", RawBytes()), redirected_to=None)

    assert simulate(direct, resources_of([bound, cluster("a", type="ORIGINAL_DST")])).landings == {Closed("a")}


def test_a_header_may_name_the_destination_of_a_request() -> None:
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]
    own = cluster("a", type="ORIGINAL_DST", original_dst_lb_config={"use_http_header": True})
    messages: list[ResourceMessage] = [
        virtual_outbound(),
        listener("0.0.0.0", 80, http("table")),
        table({"domains": ["*"], "routes": routes}),
        own,
    ]

    found = simulate(request(x_envoy_original_dst_host="9.9.9.9:9"), resources_of(messages))

    assert found.landings == {Forwarded("a", frozenset(["9.9.9.9:9"]))}


def test_a_cluster_of_another_kind_is_not_simulated() -> None:
    assert landing(Cluster(name="a", cluster_type={"name": "envoy.clusters.dynamic_forward_proxy"})) == Undecided()


@pytest.mark.parametrize(
    ("policy", "criteria", "endpoints"),
    [
        ("NO_FALLBACK", {"version": "1"}, {"1", "2"}),
        ("NO_FALLBACK", {"version": "2", "zone": "z"}, {"3"}),
        ("NO_FALLBACK", {"zone": "z"}, set()),
        ("NO_FALLBACK", {"version": "3"}, set()),
        ("NO_FALLBACK", None, set()),
        ("ANY_ENDPOINT", {"version": "3"}, {"1", "2", "3"}),
        ("ANY_ENDPOINT", None, {"1", "2", "3"}),
        ("DEFAULT_SUBSET", {"version": "3"}, {"3"}),
    ],
)
def test_criteria_choose_the_subset_of_exactly_their_keys(policy: str, criteria: Json | None, endpoints: set[str]) -> None:
    subsets = {"fallback_policy": policy, "default_subset": {"version": "2"}, "subset_selectors": SELECTORS}

    assert last(landing(listed({"lb_endpoints": VERSIONS}, lb_subset_config=subsets), criteria=criteria)) == endpoints


@pytest.mark.parametrize(
    ("selector", "endpoints"),
    [
        ({"fallback_policy": "ANY_ENDPOINT"}, {"1", "2", "3"}),
        ({"fallback_policy": "DEFAULT_SUBSET"}, {"3"}),
        ({"fallback_policy": "NO_FALLBACK"}, set()),
        ({"fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["version"]}, {"1", "2"}),
    ],
)
def test_a_selector_has_a_fallback_of_its_own(selector: Json, endpoints: set[str]) -> None:
    selectors = [{"keys": ["version"]}, {"keys": ["version", "zone"], **selector}]
    subsets = {"default_subset": {"version": "2"}, "subset_selectors": selectors}
    own = listed({"lb_endpoints": VERSIONS}, lb_subset_config=subsets)

    assert last(landing(own, criteria={"version": "1", "zone": "z"})) == endpoints


def test_a_list_may_stand_for_each_of_its_values() -> None:
    many = {**endpoint("1.1.1.1:1"), "metadata": {"filter_metadata": {"envoy.lb": {"version": ["1", "2"]}}}}
    subsets = {"subset_selectors": [{"keys": ["version"]}], "list_as_any": True}

    assert last(landing(listed({"lb_endpoints": [many]}, lb_subset_config=subsets), criteria={"version": "2"})) == {"1"}


def of(priority: int, *health: str) -> Json:
    return {
        "priority": priority,
        "lb_endpoints": [endpoint(f"1.1.{priority}.{priority * 10 + at}:1", each) for at, each in enumerate(health)],
    }


@pytest.mark.parametrize(
    ("localities", "threshold", "endpoints"),
    [
        ([of(0, "HEALTHY", "UNKNOWN", "UNHEALTHY", "DRAINING", "TIMEOUT")], 0, {"0", "1"}),
        ([of(0, "UNHEALTHY"), of(1, "HEALTHY")], 0, {"10"}),
        ([of(0, "HEALTHY"), of(1, "HEALTHY")], 0, {"0"}),
        ([of(0, "HEALTHY", "UNHEALTHY"), of(1, "HEALTHY")], 0, {"0", "10"}),
        ([of(0, "HEALTHY", "HEALTHY", "HEALTHY", "UNHEALTHY"), of(1, "HEALTHY")], 0, {"0", "1", "2"}),
        ([of(0, "DEGRADED"), of(1, "HEALTHY")], 0, {"10"}),
        ([of(0, "DEGRADED"), of(1, "UNHEALTHY")], 0, {"0"}),
        ([of(0, "UNHEALTHY", "UNHEALTHY")], 0, set()),
        ([of(0, "UNHEALTHY", "UNHEALTHY")], None, {"0", "1"}),
        ([of(0, "HEALTHY", "UNHEALTHY", "UNHEALTHY")], None, {"0", "1", "2"}),
        ([of(0, "HEALTHY", "UNHEALTHY", "UNHEALTHY"), of(1, "HEALTHY")], None, {"0", "10"}),
    ],
)
def test_load_goes_to_who_is_healthy_by_priority_and_to_all_in_panic(
    localities: list[Json], threshold: int | None, endpoints: set[str]
) -> None:
    options = {} if threshold is None else {"common_lb_config": {"healthy_panic_threshold": {"value": threshold}}}

    assert last(landing(listed(*localities, **options))) == endpoints


def test_a_locality_without_weight_gets_nothing_where_localities_are_weighted() -> None:
    localities: list[Json] = [{**of(0, "HEALTHY"), "load_balancing_weight": 1}, {"lb_endpoints": [endpoint("1.1.1.9:1")]}]

    assert last(landing(listed(*localities, common_lb_config={"locality_weighted_lb_config": {}}))) == {"0"}


@pytest.mark.parametrize(("destination", "endpoints"), [("1.1.1.1:80", {"1"}), ("1.1.1.3:80", {"3"}), ("10.96.0.1:80", set())])
def test_filters_may_tell_the_load_balancer_which_address_the_client_chose(destination: str, endpoints: set[str]) -> None:
    mutation = HeaderMutation()
    mutation.mutations.add().append.header.key = "x-chosen"
    mutation.mutations[0].append.header.value = "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"
    told = Config()
    told.request_rules.add(header="x-chosen", remove=True).on_header_present.metadata_namespace = "envoy.lb"
    told.request_rules[0].on_header_present.key = "address"
    manager = HttpConnectionManager(http_filters=[{"name": "told"}], early_header_mutation_extensions=[{"name": "early"}])
    manager.http_filters[0].typed_config.CopyFrom(pack(told))
    manager.early_header_mutation_extensions[0].typed_config.CopyFrom(pack(mutation))
    by_address = [endpoint(f"1.1.1.{number}:1", address=f"1.1.1.{number}") for number in (1, 2, 3)]
    subsets = {"subset_selectors": [{"keys": ["address"], "single_host_per_subset": True}]}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]
    chain = http("table", manager=MessageToDict(manager))
    own = listed({"lb_endpoints": by_address}, lb_subset_config=subsets)
    messages: list[ResourceMessage] = [virtual_outbound(), listener("0.0.0.0", 80, chain), table({"domains": ["*"], "routes": routes}), own]

    [outcome] = simulate(replace(request(), connection=connection(destination)), resources_of(messages)).outcomes

    assert last(outcome.landing) == endpoints
