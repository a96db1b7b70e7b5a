"""Where an authority is kept that the operator asks about, and what the control planes that use it report."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from controlplane.cli.options import state_folder

if TYPE_CHECKING:
    from controlplane.ca.manager import AuthorityManager
    from controlplane.ca.rotation import AuthorityState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AuthorityLocation:
    """The folder ``state``, or without one the Secret in ``namespace`` of the cluster that ``kubeconfig`` leads to."""

    state: str | None
    kubeconfig: str | None
    context: str | None
    namespace: str


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a control plane says: which state of the authority it has, and for whom the next phase would be too early."""

    replica: str
    phase: str
    bundle: str
    without_bundle: int  # proxies
    without_certificate: int
    namespaces: int  # whose pods may not have the bundle


@dataclass(frozen=True, slots=True)
class OpenAuthority:
    """An authority that can be asked and changed."""

    manager: AuthorityManager
    reports: Callable[[Sequence[str]], Awaitable[tuple[ReplicaReport, ...]]]  # by the admin addresses that were named


def ask_authority(location: AuthorityLocation, about: Callable[[OpenAuthority], Awaitable[T]]) -> T:
    """Return the answer to ``about`` of the authority at ``location``; ends the command where there is none, or it is not the time."""
    from controlplane.ca.rotation import OutOfOrder
    from controlplane.errors import NavarchError

    async def run() -> T:
        async with _open(location) as opened:
            return await about(opened)

    try:
        return asyncio.run(run())
    except (NavarchError, OSError) as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(1 if isinstance(error, OutOfOrder) else 2) from None


def combined_report(state: AuthorityState, reports: Sequence[ReplicaReport]) -> ReplicaReport:
    """Return the sum of ``reports``; raises OutOfOrder where one is of another state than ``state``."""
    from controlplane.ca.rotation import OutOfOrder

    for report in reports:
        if (report.bundle, report.phase) != (state.bundle_id, state.phase.value):
            raise OutOfOrder(f"the control plane {report.replica} has another state of the authority: try again in some seconds")
    return ReplicaReport(
        replica="all",
        phase=state.phase.value,
        bundle=state.bundle_id,
        without_bundle=sum(report.without_bundle for report in reports),
        without_certificate=sum(report.without_certificate for report in reports),
        namespaces=max((report.namespaces for report in reports), default=0),  # of which each sees all
    )


@contextlib.asynccontextmanager
async def _open(location: AuthorityLocation) -> AsyncIterator[OpenAuthority]:
    from controlplane.app.identity import authority_store
    from controlplane.ca.certificates import BadCertificate
    from controlplane.ca.file_store import AUTHORITY_FILE, FileStore
    from controlplane.ca.manager import AuthorityManager
    from controlplane.kube.access import KubernetesAccess
    from controlplane.kube.client import connect
    from controlplane.serve.identity import make_key, now
    from controlplane.writeback.replicas import settled_replica_identities

    if location.state:
        keeper = AuthorityManager(FileStore(Path(state_folder(location.state, AUTHORITY_FILE))), make_key, now)
        await keeper.open()
        yield OpenAuthority(keeper, _reports_by_admin)
        return
    async with connect(KubernetesAccess(location.kubeconfig, location.context)) as client:
        keeper = AuthorityManager(authority_store(client, location.namespace), make_key, now)
        if not await keeper.reload():
            raise BadCertificate(f"there is no authority in the namespace {location.namespace}; --state names a folder that has one")

        async def reports_by_replicas(_: Sequence[str]) -> tuple[ReplicaReport, ...]:
            identities_by_replica = await settled_replica_identities(client, location.namespace)
            published = {replica: text for replica, text in identities_by_replica.items() if text != "{}"}
            return tuple(_report(replica, _published_identity(replica, text)) for replica, text in published.items())

        yield OpenAuthority(keeper, reports_by_replicas)


async def _reports_by_admin(addresses: Sequence[str]) -> tuple[ReplicaReport, ...]:
    return tuple([_report(address, await asyncio.to_thread(_identity_at, address)) for address in addresses])


def _identity_at(address: str) -> Mapping[str, object]:
    from controlplane.ca.rotation import OutOfOrder

    try:
        with urllib.request.urlopen(f"http://{address}/v1/identity", timeout=10) as answer:
            return _json_object(answer.read())
    except (OSError, ValueError) as error:
        raise OutOfOrder(f"the control plane at {address} cannot be asked ({error}); --admin says where it is, or --offline") from error


def _published_identity(replica: str, published: str) -> Mapping[str, object]:
    from controlplane.ca.rotation import OutOfOrder

    try:
        return _json_object(published.encode())
    except ValueError as error:
        raise OutOfOrder(f"the control plane {replica} has not said yet which proxies it has: try again in some seconds") from error


def _json_object(data: bytes) -> Mapping[str, object]:
    document = json.loads(data)
    return document if isinstance(document, dict) else {}


def _report(replica: str, identity: Mapping[str, object]) -> ReplicaReport:
    waiting = identity.get("waitingFor")
    counts = waiting if isinstance(waiting, dict) else {}
    bundle, certificate, namespaces = (int(counts.get(name, 0)) for name in ("bundle", "certificate", "namespaces"))
    return ReplicaReport(replica, str(identity.get("phase")), str(identity.get("bundle")), bundle, certificate, namespaces)
