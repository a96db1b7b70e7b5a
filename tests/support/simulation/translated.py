"""What a captured proxy is sent by random manifests."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import yaml

from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import split
from controlplane.simulation.resources import ResourceMessage
from controlplane.sources.files.once import read_manifests
from controlplane.xds.stream import Variant
from tests.support.simulation.instrumented import messages_of
from tests.support.simulation.manifests import OWN, Configuration, configuration

NODE = f"sidecar~{OWN}~client-1.default~default.svc.cluster.local"
METADATA = {"LABELS": {"app": "client"}, "INTERCEPTION_MODE": "REDIRECT"}

Configured = tuple[Configuration, list[ResourceMessage]]


def translated(random: Random, folder: Path) -> Configured:
    """Return random manifests, and what the proxy is sent by them."""
    made = configuration(random)
    manifests = folder / "manifests.yaml"
    manifests.write_text(yaml.safe_dump_all(made.documents))
    _, changes = read_manifests([str(manifests)], io.BytesIO())
    for_mesh, _ = split(changes)
    mesh = Mesh()
    mesh.apply(for_mesh)
    session = mesh.connect(proxy_from_node(NODE, METADATA), Variant.SOTW)
    assert mesh.refresh().failed == ()
    return made, messages_of(session.view)
