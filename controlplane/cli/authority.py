"""Where an authority is kept that the operator asks about, and what the control planes that use it say of it."""

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

    who: str
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


def ask_authority(place: AuthorityLocation, about: Callable[[OpenAuthority], Awaitable[T]]) -> T:
    """Return the answer to ``about`` of the authority at ``place``; ends the command where there is none, or it is not the time."""
    from controlplane.ca.rotation import OutOfOrder
    from controlplane.errors import NavarchError

    async def run() -> T:
        async with _open(place) as opened:
            return await about(opened)

    try:
        return asyncio.run(run())
    except (NavarchError, OSError) as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(1 if isinstance(error, OutOfOrder) else 2) from None


def combined_report(state: AuthorityState, reports: Sequence[ReplicaReport]) -> ReplicaReport:
    """Return the sum of ``reports``; raises OutOfOrder where one is of another state than ``state``."""
    from controlplane.ca.rotation import OutOfOrder

    for each in reports:
        if (each.bundle, each.phase) != (state.bundle_id, state.phase.value):
            raise OutOfOrder(f"the control plane {each.who} has another state of the authority: try again in some seconds")
    return ReplicaReport(
        who="all",
        phase=state.phase.value,
        bundle=state.bundle_id,
        without_bundle=sum(each.without_bundle for each in reports),
        without_certificate=sum(each.without_certificate for each in reports),
        namespaces=max((each.namespaces for each in reports), default=0),  # of which each sees all
    )


@contextlib.asynccontextmanager
async def _open(place: AuthorityLocation) -> AsyncIterator[OpenAuthority]:
    from controlplane.app.identity import authority_store
    from controlplane.ca.certificates import BadCertificate
    from controlplane.ca.file_store import FileStore
    from controlplane.ca.manager import AuthorityManager
    from controlplane.kube.access import KubernetesAccess
    from controlplane.kube.client import connect
    from controlplane.serve.identity import make_key, now
    from controlplane.writeback.replicas import replica_identities

    if place.state:
        keeper = AuthorityManager(FileStore(Path(place.state)), make_key, now)
        await keeper.open()
        yield OpenAuthority(keeper, _by_admin)
        return
    async with connect(KubernetesAccess(place.kubeconfig, place.context)) as client:
        keeper = AuthorityManager(authority_store(client, place.namespace), make_key, now)
        if not await keeper.reload():
            raise BadCertificate(f"there is no authority in the namespace {place.namespace}; --state names a folder that has one")

        async def by_replicas(_: Sequence[str]) -> tuple[ReplicaReport, ...]:
            found = await replica_identities(client, place.namespace)
            return tuple(_report(who, _published_identity(who, told)) for who, told in found.items() if told != "{}")

        yield OpenAuthority(keeper, by_replicas)


async def _by_admin(addresses: Sequence[str]) -> tuple[ReplicaReport, ...]:
    return tuple([_report(each, await asyncio.to_thread(_get, each)) for each in addresses])


def _get(address: str) -> Mapping[str, object]:
    from controlplane.ca.rotation import OutOfOrder

    try:
        with urllib.request.urlopen(f"http://{address}/v1/identity", timeout=10) as answer:
            return _json_object(answer.read())
    except (OSError, ValueError) as error:
        raise OutOfOrder(f"the control plane at {address} cannot be asked ({error}); --admin says where it is, or --offline") from error


def _published_identity(who: str, told: str) -> Mapping[str, object]:
    from controlplane.ca.rotation import OutOfOrder

    try:
        return _json_object(told.encode())
    except ValueError as error:
        raise OutOfOrder(f"the control plane {who} has not said yet which proxies it has: try again in some seconds") from error


def _json_object(data: bytes) -> Mapping[str, object]:
    found = json.loads(data)
    return found if isinstance(found, dict) else {}


def _report(who: str, said: Mapping[str, object]) -> ReplicaReport:
    waiting = said.get("waitingFor")
    counts = waiting if isinstance(waiting, dict) else {}
    bundle, certificate, namespaces = (int(counts.get(each, 0)) for each in ("bundle", "certificate", "namespaces"))
    return ReplicaReport(who, str(said.get("phase")), str(said.get("bundle")), bundle, certificate, namespaces)
