"""What the filters that judge make of a connection or a request: RBAC, the verification of tokens, and those who ask others.

What a filter finds out of what is not simulated (a token's signature, an authorizer's answer) is an ``ask`` of the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz_pb2

from controlplane.simulation.access.facts import AccessFacts
from controlplane.simulation.access.metadata import metadata_fits
from controlplane.simulation.access.policies import ruling
from controlplane.simulation.result import Stage, Walk

_ACTIONS = {RBAC.ALLOW: "ALLOW", RBAC.DENY: "DENY", RBAC.LOG: "AUDIT"}
_RESULT = "shadow_engine_result"


class RbacFilter(Protocol):
    """The configuration of an RBAC filter, of requests or of connections."""

    @property
    def rules(self) -> RBAC:
        """What is enforced."""

    @property
    def shadow_rules(self) -> RBAC:
        """What is tried alone, for the filter's metadata."""

    @property
    def shadow_rules_stat_prefix(self) -> str:
        """How the keys in the metadata begin."""

    def HasField(self, field_name: str) -> bool:  # noqa: N802 - as protobuf calls it
        """Return whether a field is set."""


class Judged(NamedTuple):
    """The way past a filter, what is known after it, and whether it let it in."""

    walk: Walk
    facts: AccessFacts
    allowed: bool = True


def judged_by_rbac(walk: Walk, name: str, config: RbacFilter, facts: AccessFacts) -> Judged:
    """Return what the RBAC filter ``name`` makes of what ``facts`` are about."""
    facts = _shadowed(name, config, facts)
    if config.HasField("matcher"):
        return Judged(walk.passing(Stage.POLICIES, name), facts)
    if not config.HasField("rules"):
        return Judged(walk, facts)
    found = ruling(config.rules, facts)
    action = _ACTIONS[config.rules.action]
    walk = walk.step(Stage.POLICIES, action, found.policy, found.why, found.lost)
    if found.allow is None:
        return Judged(replace(walk, asks=(*walk.asks, name)), facts)
    return Judged(walk, facts, found.allow)


def _shadowed(name: str, config: RbacFilter, facts: AccessFacts) -> AccessFacts:
    """Return ``facts`` with what the filter's shadow rules tell other filters."""
    if not config.HasField("shadow_rules"):
        return facts
    found = ruling(config.shadow_rules, facts)
    if found.allow is None:
        return replace(facts, metadata={key: value for key, value in facts.metadata.items() if key != name})
    told: Mapping[str, object] = {
        **facts.metadata.get(name, {}),
        f"{config.shadow_rules_stat_prefix}{_RESULT}": "allowed" if found.allow else "denied",
    }
    return replace(facts, metadata={**facts.metadata, name: told})


def judged_by_others(walk: Walk, name: str, config: ext_authz_pb2.ExtAuthz | network_ext_authz_pb2.ExtAuthz, facts: AccessFacts) -> Judged:
    """Return the way past the filter ``name``, which asks somebody else about what it is for."""
    if config.HasField("filter_enabled_metadata"):
        asked = metadata_fits(config.filter_enabled_metadata, facts.metadata)
        if asked.holds is False:
            return Judged(walk, facts)
    cluster = config.grpc_service.envoy_grpc.cluster_name
    if isinstance(config, ext_authz_pb2.ExtAuthz) and config.HasField("http_service"):
        cluster = config.http_service.server_uri.cluster
    says = f"asks {cluster}, which may refuse it: that is not simulated"
    return Judged(replace(walk.step(Stage.POLICIES, "CUSTOM", name, says), asks=(*walk.asks, name)), facts)
