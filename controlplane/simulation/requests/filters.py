"""What the HTTP filters make of a request, in their order, before its route acts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2 import Config
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC, RBACPerRoute
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager, HttpFilter
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.simulation.access.facts import AccessFacts, connection_facts
from controlplane.simulation.access.filters import Judged, judged_by_others, judged_by_rbac
from controlplane.simulation.access.tokens import judged_by_tokens
from controlplane.simulation.arrival import Arrival
from controlplane.simulation.extensions import holds, unpacked
from controlplane.simulation.matching.head import Head
from controlplane.simulation.requests.client_address import client_ip
from controlplane.simulation.requests.faults import abort_of, fault_of
from controlplane.simulation.requests.metadata import Criteria, criteria_from
from controlplane.simulation.result import Answered, Outcome, Stage, Walk

_FORBIDDEN, _UNAUTHORIZED = 403, 401
# HTTP filters that never refuse, so that nothing needs to be said of them.
_HARMLESS = ("envoy.filters.http.grpc_stats", "envoy.filters.http.grpc_web", "envoy.filters.http.cors")

# What more specific places configure filters by, the most specific first.
Specific: TypeAlias = Iterable[Mapping[str, AnyMessage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A request with ``head`` on its way through the filters of ``manager``; ``claims`` are those of its token, if they are known."""

    manager: HttpConnectionManager
    arrival: Arrival
    head: Head
    claims: Mapping[str, object] | None = None

    @property
    def facts(self) -> AccessFacts:
        """Return what is known of the request before any filter has seen it."""
        remote = client_ip(self.manager, self.arrival, self.head)
        return replace(connection_facts(self.arrival), remote_ip=remote, head=self.head)


def passed(walk: Walk, passing: Passing, specific: Specific = (), cluster: str = "") -> Iterator[Outcome | Walk]:
    """Yield what the filters answer themselves, and the way of what they let through, on its way to ``cluster``."""
    configs = tuple(specific)
    facts = passing.facts
    for each in passing.manager.http_filters:
        if holds(each.typed_config, Router):
            break
        if holds(each.typed_config, HTTPFault):
            aborted = _aborted(walk, each, configs, cluster, passing.head)
            if aborted is None:
                continue
            answered, share = aborted
            yield answered
            if share == 1:
                return
            walk = walk.by_chance(1 - share)
            continue
        judged = _judged(walk, each, configs, facts, passing)
        walk, facts = judged.walk, judged.facts
        if not judged.allowed:
            yield walk.ends(Answered(_UNAUTHORIZED if holds(each.typed_config, JwtAuthentication) else _FORBIDDEN))
            return
    yield walk


def _aborted(walk: Walk, fault_filter: HttpFilter, specific: Specific, cluster: str, head: Head) -> tuple[Outcome, Fraction] | None:
    """Return the answer to those requests that the fault filter answers itself, and their share; ``None``: there are none."""
    fault = fault_of(fault_filter, specific)
    abort = abort_of(fault, cluster, head) if fault else None
    if abort is None:
        return None
    status, count, modulus = abort
    share = Fraction(count, modulus)
    says = f"{count} of {modulus} requests are answered {status}"
    return walk.step(Stage.HTTP_FILTER, fault_filter.name, str(status), says).by_chance(share).ends(Answered(status)), share


def _judged(walk: Walk, http_filter: HttpFilter, specific: Specific, facts: AccessFacts, passing: Passing) -> Judged:
    name, config = http_filter.name, http_filter.typed_config
    if (rbac := unpacked(config, RBAC)) is not None:
        return _judged_by_rbac(walk, name, rbac, specific, facts)
    if (tokens := unpacked(config, JwtAuthentication)) is not None:
        return judged_by_tokens(walk, name, tokens, facts, passing.claims)
    if (asking := unpacked(config, ExtAuthz)) is not None:
        return judged_by_others(walk, name, asking, facts)
    if (to_metadata := unpacked(config, Config)) is not None:
        told = criteria_from(to_metadata, passing.head)
        return Judged(walk.passing(Stage.HTTP_FILTER, name) if told is None else _telling(walk, name, told), facts)
    return Judged(walk if name in _HARMLESS else walk.passing(Stage.HTTP_FILTER, name), facts)


def _judged_by_rbac(walk: Walk, name: str, rbac: RBAC, specific: Specific, facts: AccessFacts) -> Judged:
    own = next((configs[name] for configs in specific if name in configs), None)
    if own is None:
        return judged_by_rbac(walk, name, rbac, facts)
    of_route = unpacked(own, RBACPerRoute)
    if of_route is None:
        return Judged(walk.passing(Stage.HTTP_FILTER, name), facts)
    return judged_by_rbac(walk, name, of_route.rbac, facts) if of_route.HasField("rbac") else Judged(walk, facts)


def _telling(walk: Walk, name: str, told: Criteria) -> Walk:
    if not told:
        return walk
    says = ", ".join(f"{key}={value.string_value}" for key, value in told.items())
    return replace(walk.step(Stage.HTTP_FILTER, name, says, "it tells the load balancer"), told=(*walk.told, *told.items()))
