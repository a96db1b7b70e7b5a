"""From a Drill to what is to be done and measured, and why it may not run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.drills.judging.assess import FaultAbout
from controlplane.drills.judging.objectives import DrillTarget
from controlplane.drills.measuring.series import MeasuredEdge
from controlplane.drills.planning.faults import injected_fault
from controlplane.drills.planning.run import RunPlan
from controlplane.model.faults.faults import DrillFault
from controlplane.model.services import Labels
from controlplane.objects.drills.drill import Drill, DrillCaller, Edge, InjectedFault, Objective
from controlplane.objects.drills.rules import OF_REQUESTS, camel

MOST_PROXIES = 100  # that are looked at in one run
NEVER_LABEL, NEVER = "navarch.dev/drills", "never"


@dataclass(frozen=True, slots=True)
class DrilledProxy:
    """A proxy that is connected: where its counters are read."""

    id: str
    address: str
    namespace: str


@dataclass(frozen=True, slots=True)
class DrilledInstance:
    """An instance of a service."""

    address: str
    namespace: str
    labels: Labels = ()
    zone: str = ""  # REGION/ZONE/SUBZONE


class DrilledMesh(Protocol):
    """What has to be known of a mesh."""

    def host(self, service: str, namespace: str) -> str | None:
        """Return the whole host of ``service`` as clients in ``namespace`` know it; ``None``: there is none."""

    def namespace(self, host: str, client_namespace: str) -> str:
        """Return the namespace of the service ``host``."""

    def proxies(self, namespace: str, labels: Sequence[tuple[str, str]]) -> Sequence[DrilledProxy]:
        """Return the proxies of workloads in ``namespace`` (empty: in all) that have ``labels``."""

    def instances(self, host: str, client_namespace: str) -> Sequence[DrilledInstance]:
        """Return the instances of ``host``."""

    def is_excluded(self, namespace: str) -> bool:
        """Return whether nothing in ``namespace`` may be drilled."""

    def has_outlier_detection(self, host: str, client_namespace: str) -> bool:
        """Return whether instances of ``host`` are ejected that fail."""

    def virtual_services(self, host: str) -> Sequence[str]:
        """Return the VirtualServices that have routes for ``host``, as NAMESPACE/NAME."""

    def requests_per_s(self) -> Mapping[str, float]:
        """Return how many requests a second proxies have reported last, by host."""


@dataclass(frozen=True, slots=True)
class DrilledTraffic:
    """How much of the traffic goes to a service that is drilled, by the proxies' last load reports."""

    host: str
    virtual_services: tuple[str, ...]  # NAMESPACE/NAME
    requests_per_s: float
    percentage: float | None  # of all requests that are reported; None: none are


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """What a run is to do; ``refused`` says why it may not."""

    drill: str  # NAMESPACE/NAME
    faults: tuple[DrillFault, ...]
    abouts: tuple[FaultAbout, ...]
    edges: tuple[MeasuredEdge, ...]
    targets: tuple[DrillTarget, ...]
    guards: tuple[DrillTarget, ...]
    proxies: tuple[DrilledProxy, ...]
    timing: RunPlan
    interval_s: float
    has_outlier_detection: bool
    reaches: tuple[str, ...]  # what it will reach, in words
    traffic: tuple[DrilledTraffic, ...]
    warnings: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def hosts(self) -> frozenset[str]:
        """Return the services that it has for itself."""
        return frozenset(fault.host for fault in self.faults)


def plan(drill: Drill, mesh: DrilledMesh, seed: int = 0) -> PlannedRun:
    """Return what a run of ``drill`` in ``mesh`` would do; ``seed`` decides which instances are taken out."""
    return _DrillPlanner(drill, mesh, seed).planned()


class _DrillPlanner:
    def __init__(self, drill: Drill, mesh: DrilledMesh, seed: int) -> None:
        self._drill = drill
        self._mesh = mesh
        self._seed = seed
        self._namespace = drill.meta.namespace
        self._edges: list[MeasuredEdge] = []
        self._proxies: dict[str, DrilledProxy] = {}
        self._refused: list[str] = []
        self._warnings: list[str] = []
        self._reaches: list[str] = []

    def planned(self) -> PlannedRun:
        spec = self._drill.spec
        targets = tuple(map(self._target, spec.steady_state))
        guards = tuple(map(self._target, spec.abort_if))
        for edge in spec.observe:
            self._measured(edge)
        faults = tuple(fault for position, injected in enumerate(spec.inject) for fault in self._fault(position, injected))
        if len(self._proxies) > MOST_PROXIES:
            self._warnings.append(f"the counters of {MOST_PROXIES} of {len(self._proxies)} proxies are read")
        if not self._proxies:
            self._refused.append("no proxy is connected whose requests could be measured")
        return PlannedRun(
            drill=f"{self._namespace}/{self._drill.meta.name}",
            faults=faults,
            abouts=tuple(map(_about, spec.inject)),
            edges=tuple(self._edges),
            targets=targets,
            guards=guards,
            proxies=tuple(self._proxies.values())[:MOST_PROXIES],
            timing=RunPlan(
                before_s=spec.before / 1000,
                faults_s=tuple(fault.duration / 1000 for fault in spec.inject),
                recovery_s=spec.recovery / 1000,
                after_s=spec.after / 1000,
                sequence=spec.order == "Sequence",
            ),
            interval_s=spec.interval / 1000,
            has_outlier_detection=any(self._mesh.has_outlier_detection(fault.host, self._namespace) for fault in faults),
            reaches=tuple(self._reaches),
            traffic=tuple(self._traffic(dict.fromkeys(fault.host for fault in faults))),
            warnings=tuple(self._warnings),
            refused=tuple(dict.fromkeys(self._refused)),
        )

    def _traffic(self, hosts: Iterable[str]) -> Iterator[DrilledTraffic]:
        rates = self._mesh.requests_per_s()
        total = sum(rates.values())
        for host in hosts:
            rate = rates.get(host, 0.0)
            yield DrilledTraffic(host, tuple(self._mesh.virtual_services(host)), rate, 100 * rate / total if total else None)

    def _target(self, objective: Objective) -> DrillTarget:
        return DrillTarget(
            edge=self._measured(objective),
            name=self._edges[self._measured(objective)].name,
            success=objective.success_rate,
            p50=objective.p50,
            p95=objective.p95,
            p99=objective.p99,
            rate=objective.rate,
            window_s=objective.window / 1000,
        )

    def _measured(self, edge: Edge) -> int:
        """Return the position of what is measured of ``edge``."""
        host = self._host(edge.service)
        found = self._callers(edge.caller)
        self._proxies.update((proxy.id, proxy) for proxy in found)
        measured = MeasuredEdge(
            name=edge.name or edge_name(edge),
            host=host,
            port=edge.port or 0,
            callers=frozenset(proxy.id for proxy in found) if edge.caller is not None else frozenset(),
            aborts=_aborts_at_caller(edge, self._drill),
        )
        if edge.caller is not None and not found:
            self._refused.append(f"{measured.name}: no caller with these labels is connected")
        same = (
            one
            for one, other in enumerate(self._edges)
            if (other.host, other.port, other.callers) == (host, measured.port, measured.callers)
        )
        position = next(same, None)
        if position is None:
            self._edges.append(measured)
            return len(self._edges) - 1
        return position

    def _host(self, service: str) -> str:
        host = self._mesh.host(service, self._namespace)
        if host is None:
            self._refused.append(f"there is no service {service} for clients in {self._namespace}")
        return host or service

    def _callers(self, caller: DrillCaller | None) -> Sequence[DrilledProxy]:
        if caller is None:
            return self._mesh.proxies("", ())
        labels = sorted(caller.selector.match_labels.items()) if caller.selector else ()
        return self._mesh.proxies(caller.namespace or self._namespace, tuple(labels))

    def _fault(self, position: int, injected: InjectedFault) -> Iterator[DrillFault]:
        name = injected.name or str(position)
        host = self._host(injected.service)
        if injected.control_plane_outage is not None:
            self._refused.append(f"{name}: a control plane cannot take itself away; the demo does (navarch demo --drill)")
            return
        if injected.instance_removal is not None and injected.instance_removal.delete_pods:
            self._refused.append(
                f"{name}: pods are not deleted; without deletePods their endpoints are taken out, which is undone by itself"
            )
            return
        self._check_reach(name, host, injected)
        yield injected_fault(self._drill, name, host, injected, self._seed)

    def _check_reach(self, name: str, host: str, injected: InjectedFault) -> None:
        radius = self._drill.spec.blast_radius
        wanted = set(injected.instances.match_labels.items()) if injected.instances else set()
        instances = [each for each in self._mesh.instances(host, self._namespace) if wanted <= set(each.labels)]
        callers = self._callers(injected.caller)
        service_namespace = self._mesh.namespace(host, self._namespace)
        namespaces = {service_namespace, *(instance.namespace for instance in instances)}
        namespaces |= {proxy.namespace for proxy in callers} if injected.side == "Caller" or injected.caller else set()
        allowed = set(radius.namespaces or (self._namespace,))
        self._refused += [
            f"{name}: {namespace} is not a namespace of the drill's blast radius" for namespace in sorted(namespaces - allowed - {""})
        ]
        self._refused += [
            f"{name}: {namespace} is labelled {NEVER_LABEL}: {NEVER}"
            for namespace in sorted(namespaces)
            if self._mesh.is_excluded(namespace)
        ]
        reached = len(callers) if injected.side == "Caller" else len(instances)
        if injected.zone_loss is not None:
            zone = injected.zone_loss.zone
            reached = sum(instance.zone == zone or instance.zone.startswith(f"{zone}/") for instance in instances)
            if not reached:
                self._refused.append(f"{name}: {host} has no instance in the zone {zone}")
        if injected.instance_removal is not None:
            reached = injected.instance_removal.instances
            if reached > len(instances):
                self._refused.append(f"{name}: {host} has {len(instances)} instances, {reached} cannot be taken out")
        if radius.pods is not None and reached > radius.pods:
            self._refused.append(f"{name}: it would reach {reached} pods, {radius.pods} are allowed by the blast radius")
        if not instances:
            self._refused.append(f"{name}: {host} has no instances{' with these labels' if wanted else ''}")
        self._warn_of_unreached(name, instances, injected)
        at = "callers" if injected.side == "Caller" else "instances"
        self._reaches.append(f"{name}: {camel(injected.sorts[0])} of {injected.percentage:g} % of requests to {host}, at {reached} {at}")

    def _warn_of_unreached(self, name: str, instances: Sequence[DrilledInstance], injected: InjectedFault) -> None:
        """Warn of instances that have no proxy which is connected here: nothing happens at them."""
        if injected.side == "Caller" or injected.zone_loss is not None or injected.instance_removal is not None:
            return
        connected = {proxy.address for proxy in self._mesh.proxies("", ())}
        if bare := [each.address for each in instances if each.address not in connected]:
            self._warnings.append(f"{name}: {len(bare)} instances have no proxy that is connected to this control plane, {bare[0]} for one")


def edge_name(edge: Edge) -> str:
    """Return what ``edge`` is called that has no name."""
    if edge.caller is None:
        return edge.service
    labels = edge.caller.selector.match_labels if edge.caller.selector else {}
    caller = labels.get("app") or ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or edge.caller.namespace or "*"
    return f"{caller} -> {edge.service}"


def _aborts_at_caller(edge: Edge, drill: Drill) -> str:
    for fault in drill.spec.inject:
        if fault.abort is not None and fault.side == "Caller" and fault.service == edge.service:
            return f"{(fault.abort.http_status or 200) // 100}xx"
    return ""


def _about(injected: InjectedFault) -> FaultAbout:
    return FaultAbout(
        name=injected.name,
        sort=camel(injected.sorts[0]),
        service=injected.service,
        side=injected.side,
        percentage=injected.percentage,
        of_requests=injected.sorts[0] in OF_REQUESTS,
    )
