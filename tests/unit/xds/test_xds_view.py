"""What is published, and how streams that see the same share it."""

from __future__ import annotations

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

from controlplane.envoy.type_urls import CDS, EDS, VHDS
from controlplane.xds.view import TableChange, View, folder, merged
from tests.support.fakes.resources import cluster, endpoints, host
from tests.support.fakes.xds_client import table


def test_a_resource_is_a_field_of_both_responses() -> None:
    published = cluster("a")

    delta = DeltaDiscoveryResponse.FromString(published.frame)
    sotw = DiscoveryResponse.FromString(published.sotw_frame)

    [whole], [packed] = delta.resources, sotw.resources
    assert (whole.name, whole.version, whole.resource.type_url) == ("a", published.version, CDS)
    assert whole.resource == packed
    assert packed.value == published.value


def test_equal_content_is_no_change() -> None:
    published = table(cluster("a"), cluster("b"))

    change = published.apply({CDS: {"a": cluster("a"), "b": cluster("b", 2)}}, {CDS: frozenset({"none"})})

    assert change.updated == {CDS: frozenset({"b"})}
    assert change.removed == {}


def test_a_version_depends_on_the_content_and_not_on_how_it_is_divided() -> None:
    one = View(table(cluster("a"), cluster("b")))
    two = View(table(cluster("b")), table(cluster("a")))

    assert one.version(CDS) == two.version(CDS)
    assert one.version(CDS) != View(table(cluster("a"))).version(CDS)
    assert View().version(CDS)


def test_a_version_changes_with_each_change_and_back() -> None:
    published = table(cluster("a"))
    view = View(published)
    seen = [view.version(CDS)]

    for change in ({"a": cluster("a", 2)}, {"b": cluster("b")}, {"a": cluster("a")}):
        published.apply({CDS: change}, {})
        seen.append(view.version(CDS))
    published.apply({}, {CDS: frozenset({"b"})})

    assert len(set(seen)) == 4
    assert view.version(CDS) == seen[0]


def test_hosts_are_found_by_their_table_as_it_changes() -> None:
    published = table(host("80/a"), host("in/80/b"))
    view = View(published, table(host("80/c")))
    before = sorted(view.within(VHDS, "80"))

    published.apply({VHDS: {"80/d": host("80/d")}}, {VHDS: frozenset({"80/a"})})

    assert before == ["80/a", "80/c"]
    assert sorted(view.within(VHDS, "80")) == ["80/c", "80/d"]
    assert sorted(view.within(VHDS, "in/80")) == ["in/80/b"]


def test_what_stands_before_the_last_slash_is_the_folder() -> None:
    assert [folder(name) for name in ("80/a", "in/80/a", "a", "")] == ["80", "in/80", "", ""]


def test_a_name_is_found_in_whichever_table_has_it() -> None:
    view = View(table(cluster("a")), table(cluster("b"), endpoints("b")))

    assert [view.lookup(CDS)(name) for name in "abc"] == [cluster("a"), cluster("b"), None]
    assert view.lookup(EDS)("b") == endpoints("b")
    assert view.get(CDS, "b") == cluster("b")


def test_changes_of_one_table_become_one_and_the_last_of_a_name_counts() -> None:
    first, second = table(), table()
    changes = (
        (first, TableChange(updated={EDS: frozenset({"a", "b"})})),
        (second, TableChange(updated={EDS: frozenset({"a"})})),
        (first, TableChange(removed={EDS: frozenset({"b"}), CDS: frozenset({"c"})})),
        (first, TableChange(updated={CDS: frozenset({"c"})})),
    )

    assert merged(changes) == (
        (first, TableChange({EDS: frozenset({"a"}), CDS: frozenset({"c"})}, {EDS: frozenset({"b"})})),
        (second, TableChange(updated={EDS: frozenset({"a"})})),
    )
