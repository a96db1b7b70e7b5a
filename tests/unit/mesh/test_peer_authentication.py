"""Which PeerAuthentication counts for a workload, where one of them cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.model.peer_authentication import MutualTLSMode, PeerModes
from controlplane.objects.changes import split
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import parse_file

Json = Mapping[str, object]
OPEN = PeerModes(MutualTLSMode.PERMISSIVE)
CLOSED = PeerModes(MutualTLSMode.STRICT)
PERMISSIVE: Json = {"mtls": {"mode": "PERMISSIVE"}}
WEB: Json = {"selector": {"matchLabels": {"app": "web"}}}
BROKEN: Json = {"mtls": {"mode": "STRICTT"}}
WITH_PORT: Json = {**WEB, **PERMISSIVE, "portLevelMtls": {"80": {"mode": "DISABLE"}}}


def peers(name: str, spec: Json, namespace: str = "shop", created: str = "2026-01-01T00:00:00Z") -> str:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return json.dumps({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec})


def modes(namespace: str, *policies: str) -> PeerModes:
    mesh, folder = Mesh(), ManifestFolder()
    mesh.apply(split(folder.take({"a.yaml": parse_file("\n---\n".join(policies))}, 0))[0])
    found = mesh.database.attempt(peer_policies, namespace, (("app", "web"),))
    assert isinstance(found, PeerModes)
    return found


@pytest.mark.parametrize(
    "policies",
    [
        [peers("a", BROKEN)],
        [peers("a", {**WEB, **BROKEN}), peers("b", WITH_PORT, created="2020-01-01T00:00:00Z")],
        [peers("a", {"selector": "web", **PERMISSIVE}), peers("b", WITH_PORT, created="2020-01-01T00:00:00Z")],
        [peers("a", {**WEB, **PERMISSIVE, "portLevelMtls": {"0": {}}}), peers("b", PERMISSIVE)],
        [peers("a", {"selector": "web", **PERMISSIVE}, "istio-system")],
    ],
    ids=["alone", "of a workload", "with a selector that cannot be read", "before its namespace's", "of the mesh"],
)
def test_one_that_cannot_be_used_closes_what_it_may_be_for(policies: list[str]) -> None:
    assert modes("shop", *policies) == CLOSED


@pytest.mark.parametrize(
    "policies",
    [
        [peers("a", BROKEN, "other"), peers("b", {"selector": "web"}, "other")],
        [peers("a", BROKEN), peers("b", {**WEB, **PERMISSIVE})],
        [peers("a", BROKEN, "istio-system"), peers("b", PERMISSIVE)],
        [peers("a", {"selector": {"matchLabels": {"app": "other"}}, **BROKEN})],
    ],
    ids=["of another namespace", "of the namespace above", "of the mesh above", "of another workload"],
)
def test_it_closes_nothing_else(policies: list[str]) -> None:
    assert modes("shop", *policies) == OPEN
