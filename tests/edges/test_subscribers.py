"""Which streams hear of what a refresh publishes, and the sum of how far they have come with an object."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS
from controlplane.fleet.rollout import ResourceRefusal
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.keys import Key
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, MeshChange, split
from controlplane.objects.parse import parse
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Progress, Variant
from controlplane.xds.view import TableChange, View


class Stream:
    """Notes what it is handed; has accepted all clusters, unless told otherwise, and asks for nothing else."""

    def __init__(self, session: Session, connection: int) -> None:
        self.session = session
        self.connection = connection
        self.views: list[View] = []
        self.changes: list[TableChange] = []
        self.clusters_are = Progress.ACCEPTED
        self.open_names = 0

    def refuses(self, type_url: str, name: str) -> bool:
        del type_url, name
        return False

    def progress(self, resource: Resource) -> Progress:
        return self.clusters_are if resource.type_url == CDS else Progress.UNNEEDED

    def renew(self) -> None:
        raise NotImplementedError

    def changed(self, change: TableChange) -> None:
        self.changes.append(change)

    def see(self, view: View) -> None:
        self.views.append(view)

    def clusters(self) -> set[str]:
        """Return the names of clusters that changes were about."""
        return {name for change in self.changes for name in (*change.updated.get(CDS, ()), *change.removed.get(CDS, ()))}


class Served:
    """A mesh, and streams that see it."""

    def __init__(self) -> None:
        self.mesh = Mesh()
        self.woken = 0
        self.subscribers = Subscribers(self.mesh, self._wake)

    def apply(self, *documents: dict[str, object]) -> None:
        parsed = [parse(document) for document in documents]
        for_mesh, _ = split(Change(each.key, each.object) for each in parsed if each.key)
        self.mesh.apply(for_mesh)

    def joined(self, namespace: str, number: int) -> Stream:
        node = f"sidecar~10.0.0.{number}~p{number}.{namespace}~{namespace}.svc.cluster.local"
        stream = Stream(self.subscribers.connect(proxy_from_node(node, {}), Variant.DELTA), number)
        self.subscribers.join(stream)
        return stream

    def refresh(self) -> None:
        self.subscribers.publish(self.mesh.refresh())

    def _wake(self) -> None:
        self.woken += 1


def service(name: str, port: int = 80) -> dict[str, object]:
    spec = {"ports": [{"name": "http", "port": port}], "clusterIP": "10.9.0.1"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def only(namespace: str, host: str) -> dict[str, object]:
    """Return what has the proxies of ``namespace`` see ``host`` and nothing else."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "only", "namespace": namespace},
        "spec": {"egress": [{"hosts": [host]}]},
    }


def test_a_stream_that_joins_asks_for_a_refresh_and_gets_its_first_view_by_it() -> None:
    served = Served()
    served.apply(service("a"))

    stream = served.joined("shop", 1)
    before = len(stream.views)
    served.refresh()

    assert (served.woken, before) == (1, 0)
    assert any(resource.name.endswith("a.shop.svc.cluster.local") for resource in stream.views[0].resources(CDS))
    assert stream.changes == []


def test_a_change_goes_to_the_streams_that_see_its_table_and_to_no_others() -> None:
    served = Served()
    served.apply(service("a"), only("apart", "./*"))
    near, apart = served.joined("shop", 1), served.joined("apart", 2)
    served.refresh()

    served.apply(service("b"))
    served.refresh()

    assert near.clusters() == {"outbound|80||b.shop.svc.cluster.local"}
    assert apart.changes == []


def test_a_stream_whose_view_is_replaced_gets_the_new_one_and_then_the_changes_of_that() -> None:
    served = Served()
    served.apply(service("a"))
    stream = served.joined("shop", 1)
    served.refresh()

    served.apply(only("shop", "./a.shop.svc.cluster.local"), service("b"))
    served.refresh()
    changed_with_its_view = stream.clusters()
    served.apply(service("c"))
    served.refresh()

    assert (len(stream.views), changed_with_its_view, stream.clusters()) == (2, set(), set())


def test_a_stream_that_has_left_hears_nothing_more_and_leaves_nothing_behind() -> None:
    served = Served()
    stream = served.joined("shop", 1)
    served.refresh()

    served.subscribers.leave(stream.session)
    served.apply(service("a"))
    served.refresh()

    assert (stream.changes, served.subscribers.sessions()) == ([], ())
    assert (served.subscribers.arrivals, served.subscribers.departures) == (1, 1)
    assert not served.subscribers._seen_by


def test_an_object_has_come_as_far_as_the_streams_that_need_it_say() -> None:
    served = Served()
    served.apply(service("a"))
    streams = [served.joined("shop", number) for number in range(1, 5)]
    served.refresh()
    for stream, progress in zip(streams, (Progress.ACCEPTED, Progress.PENDING, Progress.REFUSED, Progress.UNNEEDED), strict=True):
        stream.clusters_are = progress

    rollout = served.subscribers.rollout(Key("Service", "shop", "a"), lambda connection, *_: f"no, says {connection}")

    assert (rollout.needed, rollout.accepted) == (3, 1)
    refused = ResourceRefusal(streams[2].session.proxy.id, "Cluster outbound|80||a.shop.svc.cluster.local", "no, says 3")
    assert rollout.refusals == (refused,)


def test_nobody_needs_what_is_gone() -> None:
    served = Served()
    served.apply(service("a"))
    served.joined("shop", 1)
    served.refresh()

    served.mesh.apply([MeshChange(Key("Service", "shop", "a"), None)])
    served.refresh()

    assert served.subscribers.rollout(Key("Service", "shop", "a"), lambda *_: "").needed == 0
