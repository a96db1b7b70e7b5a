"""Routes by the claims of tokens, at gateways where no token is verified: no request ever has such a claim there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, query
from controlplane.mesh.access.policies import effective_policies
from controlplane.mesh.gateway.gateways import gateway_selector
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateways_of
from controlplane.mesh.problems.gateways import gateway_key, gateway_workloads
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.claim_matches import is_claim
from controlplane.objects.networking.virtual_service import VirtualService


def unverified_claims(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which conditions of ``virtual_service`` are on claims that none of its Gateways knows."""
    wanted = [
        f"spec.http[{position}].match[{match_position}]"
        for position, route in enumerate(virtual_service.spec.http)
        for match_position, match in enumerate(route.match)
        if any(is_claim(name) for name in (*match.headers, *match.without_headers))
    ]
    keys = [gateway_key(name) for name in sorted(gateways_of(virtual_service)) if name != MESH_GATEWAY]
    if not wanted or not keys or any(verifies_tokens(db, key) for key in keys):
        return
    for path in wanted:
        message = "no RequestAuthentication holds for its Gateways: no token is verified there, and no request has a claim"
        yield Problem(virtual_service.key, path, Severity.WARNING, "NoTokens", message)


@query
def verifies_tokens(db: Database, key: Key) -> bool:
    """Return whether some proxy of the Gateway ``key`` verifies tokens: its pods show which, otherwise its selector."""
    labels = gateway_selector(db, key)
    workloads = gateway_workloads(db, labels) or ((key.namespace, labels),)
    return any(effective_policies(db, namespace, workload_labels).authentications for namespace, workload_labels in workloads)
