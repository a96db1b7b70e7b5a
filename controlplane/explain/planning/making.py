"""Plans, made: for a control plane that runs, in a branch of its database, and for manifests against manifests."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from controlplane.explain.offline import WrittenMesh
from controlplane.explain.planning.comparing import drains, planned_resources, rerouted
from controlplane.explain.planning.plan import ChangePlan, ProxyPlan
from controlplane.explain.planning.samples import Place
from controlplane.explain.work import Work
from controlplane.incremental.branches import Outdated
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.planning.planned_state import Differences, differences, planned, resources_in
from controlplane.mesh.sessions import Session
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.model.proxies import Interception, Proxy, ProxyType
from controlplane.objects.changes import MeshChange
from controlplane.simulation.traffic import Address
from controlplane.xds.view import View

MOST_BEGINNINGS = 8  # of one plan, which begins anew when the mesh has changed


@dataclass(frozen=True, slots=True)
class _Pair:
    proxy: Proxy
    before: View
    after: View
    differs: Differences


def plan_for(
    mesh: Mesh, sessions: Sequence[Session], facts: Sequence[MeshChange], stop: Callable[[], Callable[[], bool]], *, contents: bool = False
) -> Work[ChangePlan]:
    """Return what would differ in ``mesh``, whose proxies have ``sessions``, if ``facts`` were applied; nothing changes.

    Raises Outdated where the mesh changes so often that no plan comes to its end.
    """
    for left in reversed(range(MOST_BEGINNINGS)):
        try:
            state = yield from planned(mesh.database, mesh.attribution.tables_with, sessions, mesh.keys, facts, stop)
        except Outdated:
            if not left:
                raise
        else:
            break
    pairs = [_Pair(each.session.proxy, each.session.view, each.view, each.differs) for each in state.views]
    return (yield from _plan(mesh, tuple(sorted(state.changed)), pairs, state.new_problems, state.gone_problems, contents=contents))


def plan_between(before: WrittenMesh, after: WrittenMesh, *, contents: bool = False) -> Work[ChangePlan]:
    """Return what differs between what ``before`` and ``after`` make of all pods in either."""
    proxies = {proxy.id: proxy for written in (before, after) for proxy in written.proxies()}
    pairs = []
    for _, proxy in sorted(proxies.items()):
        old, new = _view(before, proxy.id), _view(after, proxy.id)
        differs = differences(resources_in(old), resources_in(new))
        if differs:
            pairs.append(_Pair(proxy, old, new, differs))
        yield
    problems = [tuple(written.mesh.problems()) for written in (before, after)]
    keys = before.mesh.keys, after.mesh.keys
    changed = [key for key in dict.fromkeys((*keys[0], *keys[1])) if before.mesh.object(key) != after.mesh.object(key)]
    appear, go = (tuple(each for each in one if each not in other) for one, other in (problems[::-1], problems))
    return (yield from _plan(after.mesh, tuple(sorted(changed)), pairs, appear, go, contents=contents))


def _view(written: WrittenMesh, proxy_id: str) -> View:
    proxy = next((each for each in written.proxies() if each.id == proxy_id), None)
    return written.session(proxy).view if proxy is not None else View()


def _plan(
    mesh: Mesh, changed: tuple[Key, ...], pairs: Iterable[_Pair], new: tuple[Problem, ...], gone: tuple[Problem, ...], *, contents: bool
) -> Work[ChangePlan]:
    groups: dict[Hashable, list[_Pair]] = {}
    for pair in pairs:
        groups.setdefault(_what(mesh, pair), []).append(pair)
    found: list[ProxyPlan] = []
    for group in groups.values():
        first = group[0]
        moved, tried = yield from rerouted(first.before, first.after, first.differs, _place(mesh, first.proxy))
        found.append(
            ProxyPlan(
                proxies=tuple(pair.proxy.id for pair in group),
                resources=planned_resources(first.differs, contents=contents),
                drains=tuple(drains(first.differs)),
                rerouted=moved,
                tried=tried,
            )
        )
        yield
    return ChangePlan(objects=changed, proxies=tuple(found), new_problems=new, gone_problems=gone)


def _what(mesh: Mesh, pair: _Pair) -> Hashable:
    """Return what is the same for proxies for which the same differs."""
    versions = [(*reference, *(each.version if each else "" for each in sides)) for reference, sides in pair.differs.items()]
    return _place(mesh, pair.proxy), tuple(sorted(versions))


def _place(mesh: Mesh, proxy: Proxy) -> Place:
    captured = proxy.type is ProxyType.SIDECAR and proxy.interception is not Interception.NONE
    return Place(Address("127.0.0.1", mesh.settings().outbound_port) if captured else None)
