"""A control plane in the test's own event loop, whose source is a real API server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from controlplane.app.control_plane import ControlPlane
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.settings import IdentitySettings, KubernetesSettings, ReportSettings, Settings
from tests.support.cluster import Cluster
from tests.support.control_plane import Running, run_until_ready

HOME = "navarch-system"
SECRET = f"/api/v1/namespaces/{HOME}/secrets/navarch-ca"
_NOTHING_MORE = Settings(reports=ReportSettings(grace_s=1.0))
IDENTIFIED = replace(_NOTHING_MORE, identity=IdentitySettings(xds_tls="127.0.0.1:0", xds_mtls="127.0.0.1:0"))


@contextlib.asynccontextmanager
async def serving(
    kubeconfig: Path,
    *,
    files: tuple[str, ...] = (),
    namespaces: tuple[str, ...] = (),
    webhook: str | None = None,
    pod: str | None = "navarch",
    watch_timeout_s: float = 120.0,
    more: Settings = _NOTHING_MORE,
) -> AsyncIterator[Running]:
    """Serve what the API server of ``kubeconfig`` has, and ``files``, until the block ends; ready when it begins.

    ``pod`` is the name of the replica; ``None``: it is none, and only observes.
    """
    kubernetes = KubernetesSettings(
        kubeconfig=str(kubeconfig),
        namespaces=namespaces,
        webhook=webhook,
        replica=pod is not None,
        pod=pod or "laptop",
        watch_timeout_s=watch_timeout_s,
        settle_s=0.0,
    )
    anywhere = "127.0.0.1:0"
    settings = replace(more, files=files, kubernetes=kubernetes, xds=anywhere, admin=anywhere, health=anywhere, grace_s=1.0)
    async with connect(KubernetesAccess(str(kubeconfig))) as client, run_until_ready(ControlPlane(settings, client)) as running:
        yield running


@contextlib.asynccontextmanager
async def identities(cluster: Cluster, pod: str = "navarch") -> AsyncIterator[Running]:
    """Serve what ``cluster`` has, with identities, as ``pod``."""
    async with serving(cluster.kubeconfig(), pod=pod, more=IDENTIFIED) as running:
        yield running


async def names(running: Running, kind: str, namespace: str) -> set[str]:
    """Return the objects of ``kind`` in ``namespace`` that the control plane has."""
    found = await running.json("/v1/objects")
    assert isinstance(found, list)
    return {each["name"] for each in found if (each["kind"], each["namespace"]) == (kind, namespace)}
