"""What is published when names go missing, come late, or leave while something still uses them."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, EDS, VHDS
from controlplane.mesh.publish.published_table import PublishedTable
from controlplane.xds.resource import Reference, Resource, resource


def cluster(name: str, content: str = "", *, eds: bool = False) -> Resource:
    return resource(CDS, name, f"{name}{content}".encode(), uses=((EDS, name),) if eds else ())


def assignment(name: str) -> Resource:
    return resource(EDS, name, name.encode())


def host(name: str, *clusters: str) -> Resource:
    return resource(VHDS, name, " ".join((name, *clusters)).encode(), uses=tuple((CDS, each) for each in clusters))


def shelf(*resources: Resource) -> PublishedTable:
    made = PublishedTable("part")
    made.put({(each.type_url, each.name): each for each in resources})
    return made


def put(made: PublishedTable, *resources: Resource, gone: tuple[Reference, ...] = ()) -> tuple[set[str], set[str]]:
    change = made.put({**{(each.type_url, each.name): each for each in resources}, **dict.fromkeys(gone)})
    if change is None:
        return set(), set()
    return {name for names in change.updated.values() for name in names}, {name for names in change.removed.values() for name in names}


def test_a_route_to_a_cluster_that_does_not_exist_yet_keeps_its_published_version_until_it_does() -> None:
    made = shelf(cluster("v1"), host("h", "v1"))

    before = put(made, host("h", "v1", "v2"))
    after = put(made, cluster("v2"))

    assert before == (set(), set())
    assert after == ({"v2", "h"}, set())


def test_a_route_never_published_goes_out_even_if_its_cluster_is_missing() -> None:
    made = shelf()

    change = put(made, host("h", "nowhere"))

    assert change == ({"h"}, set())


def test_a_cluster_in_use_stays_with_its_endpoints_until_its_last_user_lets_go() -> None:
    made = shelf(cluster("v1", eds=True), assignment("v1"), host("h", "v1"), cluster("v2"))

    removed = put(made, gone=((CDS, "v1"), (EDS, "v1")))
    repointed = put(made, host("h", "v2"))

    assert removed == (set(), set())
    assert repointed == ({"h"}, {"v1"})
    assert made.table.of_type(EDS).get("v1") is None


def test_user_and_used_that_go_together_are_both_removed() -> None:
    made = shelf(cluster("v1"), host("h", "v1"))

    change = put(made, gone=((CDS, "v1"), (VHDS, "h")))

    assert change == (set(), {"v1", "h"})


def test_a_cluster_that_comes_back_while_it_was_kept_is_published_anew() -> None:
    made = shelf(cluster("v1"), host("h", "v1"))
    put(made, gone=((CDS, "v1"),))

    change = put(made, cluster("v1", "changed"))
    dropped = put(made, host("h"), gone=((CDS, "v1"),))

    assert change == ({"v1"}, set())
    assert dropped == ({"h"}, {"v1"})


def test_equal_content_changes_nothing() -> None:
    made = shelf(cluster("v1"))

    change = put(made, cluster("v1"))

    assert change == (set(), set())
