"""The steps of a simulation, each with what has made what was chosen, and with what else is worth knowing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.explain.details import cluster_details, route_details
from controlplane.explain.explanation import ExplainedStep, FieldOrigin, LostRule
from controlplane.explain.origins import MOST_ORIGINS, Origins
from controlplane.explain.verdicts import INBOUND_LISTENER
from controlplane.explain.work import Work
from controlplane.mesh.sessions import Session
from controlplane.model.keys import (
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    GATEWAY,
    PEER_AUTHENTICATION,
    REQUEST_AUTHENTICATION,
    SERVICE,
    SERVICE_ENTRY,
    SIDECAR,
    VIRTUAL_SERVICE,
    WORKLOAD_ENTRY,
    GroupKind,
)
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Lost, Stage, Step

_LISTENING = frozenset((GATEWAY, SIDECAR, SERVICE, SERVICE_ENTRY))
_HOSTING = frozenset((VIRTUAL_SERVICE, SERVICE, SERVICE_ENTRY, GATEWAY))
_SENDING = frozenset((DESTINATION_RULE, SERVICE, SERVICE_ENTRY))
_SERVING = frozenset((ENDPOINT_SLICE, SERVICE_ENTRY, WORKLOAD_ENTRY))


class StepExplainer:
    """Explains the steps of one way at the proxy of ``session``, in their order: what was chosen before says where a later one is."""

    def __init__(self, session: Session, resources: Resources, origins: Origins) -> None:
        """Begin at the first step."""
        self._session, self._resources, self._origins = session, resources, origins
        self._listener = self._table = self._host = ""

    def explained(self, steps: Sequence[Step]) -> Work[tuple[ExplainedStep, ...]]:
        """Return ``steps``, explained."""
        found: list[ExplainedStep] = []
        for step in steps:
            found.append(self._explained(step))
            yield
        return tuple(found)

    def _explained(self, step: Step) -> ExplainedStep:
        origins: tuple[FieldOrigin, ...] = ()
        details: Mapping[str, str] = {}
        lost: tuple[LostRule, ...] = tuple(LostRule(each.what, each.why) for each in step.lost)
        match step.stage:
            case Stage.LISTENER:
                self._listener = step.chosen
                kinds = frozenset((SIDECAR, GATEWAY)) if step.chosen == INBOUND_LISTENER else _LISTENING
                origins = self._of(LDS, step.chosen, kinds)
            case Stage.FILTER_CHAIN if self._listener == INBOUND_LISTENER:
                origins = self._of(LDS, self._listener, frozenset((PEER_AUTHENTICATION,)))
            case Stage.NETWORK_FILTER if "TLS" in step.chosen:
                origins = self._of(LDS, self._listener, frozenset((PEER_AUTHENTICATION, GATEWAY)))
            case Stage.ROUTE_TABLE:
                self._table = step.chosen
            case Stage.VIRTUAL_HOST:
                self._host = step.chosen
                origins = self._of_host()
            case Stage.ROUTE if step.place is not None:
                route = self._route(step.place)
                origins = self._origins.of_route(self._table, route) if route else ()
                details = route_details(route) if route else {}
                lost = tuple(self._lost_route(each) for each in step.lost)
            case Stage.ROUTE if step.lost:
                lost = tuple(self._lost_route(each) for each in step.lost)
            case Stage.POLICIES:
                origins = self._of_policies(step)
                lost = tuple(LostRule(each.what, each.why, self._origins.of_policy(each.what)) for each in step.lost)
            case Stage.CLUSTER:
                origins, details = self._of_cluster(step.resource)
            case _:
                pass
        return ExplainedStep(step.stage.value, step.chosen, step.reason, origins, lost, details)

    def _of(self, type_url: str, name: str, kinds: frozenset[GroupKind]) -> tuple[FieldOrigin, ...]:
        return self._origins.of_resource(self._session, type_url, name, kinds)

    def _of_host(self) -> tuple[FieldOrigin, ...]:
        name = f"{self._table}/{self._host}"
        return self._of(VHDS, name, _HOSTING) or self._of(RDS, name, _HOSTING)

    def _hosts(self) -> Iterator[VirtualHost]:
        table = self._resources.route_tables.get(self._table)
        yield from table.virtual_hosts if table is not None else ()
        yield from self._resources.virtual_hosts.get(self._table, ())

    def _route(self, place: int) -> Route | None:
        host = next((each for each in self._hosts() if each.name == self._host), None)
        return host.routes[place] if host is not None and place < len(host.routes) else None

    def _lost_route(self, lost: Lost) -> LostRule:
        route = self._route(lost.place) if lost.place is not None else None
        return LostRule(lost.what, lost.why, self._origins.of_route(self._table, route) if route else ())

    def _of_policies(self, step: Step) -> tuple[FieldOrigin, ...]:
        if step.chosen and (origins := self._origins.of_policy(step.chosen)):
            return origins
        if step.resource == "token":
            return self._of(LDS, self._listener, frozenset((REQUEST_AUTHENTICATION,)))
        if step.resource == "CUSTOM" or not step.lost:
            return self._of(LDS, self._listener, frozenset((AUTHORIZATION_POLICY,)))
        return tuple(dict.fromkeys(origin for each in step.lost for origin in self._origins.of_policy(each.what)))[:MOST_ORIGINS]

    def _of_cluster(self, name: str) -> tuple[tuple[FieldOrigin, ...], Mapping[str, str]]:
        cluster = self._resources.clusters.get(name)
        origins = dict.fromkeys((*self._of(CDS, name, _SENDING), *self._of(EDS, name, _SERVING)))
        assignment = self._resources.endpoints.get(name)
        return tuple(origins), cluster_details(cluster, assignment) if cluster is not None else {}
