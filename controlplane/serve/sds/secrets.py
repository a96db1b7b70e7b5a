"""The secrets of each stream: its own certificate and the roots, joined to its view and to no other's. They never enter the database."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import LeafCertificates, LeafHolder
from controlplane.ca.rotation import AuthorityState
from controlplane.envoy.type_urls import SDS
from controlplane.mesh.publish.encode import checked_resource
from controlplane.model.identity import Identity
from controlplane.model.telemetry.workloads import WorkloadNames
from controlplane.translate.tls import secrets
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Progress
from controlplane.xds.view import Table, TableChange

log = logging.getLogger(__name__)

# The names of the workload of a pod, to which a token of an identity is bound: None where certificates say none.
NamesOf: TypeAlias = Callable[[Identity, str], WorkloadNames | None]
# How often it is looked whether workloads have other names than their certificates say, and at how many of them at a time.
_NAMES_S, _MOST_NAMES = 5.0, 100
_RETRY_S = 5.0  # after something could not be issued


class SigningAuthority(Protocol):
    """Signs certificates."""

    @property
    def state(self) -> AuthorityState:
        """Return the issuer to sign with and the roots to trust."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever the state has changed."""


class SecretListener(Protocol):
    """A stream, as far as its secrets concern it."""

    def changed(self, change: TableChange) -> None:
        """Take in that a table of the stream's view has changed."""

    def progress(self, resource: Resource) -> Progress:
        """Return how far the peer has come with ``resource``."""


class CredentialSource(Protocol):
    """Loads the credentials that objects name."""

    async def load(self, holder: LeafHolder, names: Iterable[str]) -> None:
        """Put among the secrets of ``holder`` what it may have of ``names``."""

    def leave(self, holder: LeafHolder) -> None:
        """Forget what ``holder`` asked for."""

    def counts(self) -> dict[str, int]:
        """Return how many credentials are held and how many are unusable, a proxy and a name each."""


class Secrets:
    """Keeps the secrets of all streams that have an identity."""

    def __init__(
        self,
        authority: SigningAuthority,
        leaf_certificates: LeafCertificates,
        clock: Callable[[], dt.datetime],
        names_of: NamesOf = lambda _who, _pod: None,
    ) -> None:
        """Issue by ``authority`` into ``leaf_certificates``; ``clock`` gives the time, with its zone, ``names_of`` what is said of pods."""
        self._names_of = names_of
        self._authority = authority
        self._leaf_certificates = leaf_certificates
        self._clock = clock
        self._tables: dict[LeafHolder, Table] = {}
        self._unchecked: list[LeafHolder] = []  # whose names are still to be looked at, before it begins anew
        self._listeners: dict[LeafHolder, set[SecretListener]] = defaultdict(set)
        self._wake_event = asyncio.Event()
        self._issued_state: AuthorityState | None = None  # by which all secrets are issued
        self._roots: Resource | None = None
        self.credentials: CredentialSource | None = None
        self._retry_at: dt.datetime | None = None  # something could not be issued: nothing is tried before
        authority.on_change(self._changed)

    def open(self, holder: LeafHolder) -> Table:
        """Return the secrets of ``holder``, for its view; raises BadCertificate where nothing can be issued."""
        if self._authority.state != self._issued_state:
            self._renew()
        table = self._tables.get(holder) or Table(holder)
        self._update(holder, table)
        self._tables[holder] = table
        self._wake_event.set()
        return table

    def join(self, holder: LeafHolder, listener: SecretListener) -> None:
        """Call ``listener`` from now on with what changes for ``holder``."""
        self._listeners[holder].add(listener)

    def leave(self, holder: LeafHolder, listener: SecretListener) -> None:
        """Forget ``listener``, and the secrets of ``holder`` with the last one; its certificate is kept until it is due."""
        listeners = self._listeners[holder]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[holder]
            self._tables.pop(holder, None)
            if self.credentials:
                self.credentials.leave(holder)

    async def load(self, holder: LeafHolder, names: Iterable[str]) -> None:
        """Put into the table of ``holder`` what it may have of ``names``, before it is answered."""
        if self.credentials:
            await self.credentials.load(holder, names)

    def put(self, holder: LeafHolder, updated: Mapping[str, Resource], removed: frozenset[str]) -> None:
        """Have ``updated`` among the secrets of ``holder``, and none of the names ``removed``; its streams get the change."""
        if table := self._tables.get(holder):
            change = table.apply({SDS: updated}, {SDS: removed})
            if change.updated or change.removed:
                for listener in tuple(self._listeners.get(holder, ())):
                    listener.changed(change)

    async def run(self) -> None:
        """Renew what is due, and hand the changes to streams, until cancelled."""
        while True:
            self._wake_event.clear()
            wait = self._renew()
            try:
                async with asyncio.timeout(min(wait, _NAMES_S)):
                    await self._wake_event.wait()
            except TimeoutError:
                continue

    def waiting(self) -> tuple[int, int]:
        """Return how many streams have not accepted the present bundle, and how many have no certificate by the present issuer.

        A stream that has asked for neither has nothing to accept: what it asks for later is up to date.
        """
        bundles = leaves = 0
        for holder, listener in self._holders_and_listeners():
            resources = self._tables[holder].of_type(SDS)
            bundles += listener.progress(resources[secrets.ROOTS]) in (Progress.PENDING, Progress.REFUSED)
            leaf = self._leaf_certificates.current(holder)
            old = leaf is None or leaf.issued_by != self._authority.state.signing.fingerprint
            leaves += old or listener.progress(resources[secrets.IDENTITY]) in (Progress.PENDING, Progress.REFUSED)
        return bundles, leaves

    def _changed(self) -> None:
        """Renew at once: the authority may be able to sign now."""
        self._retry_at = None
        self._wake_event.set()

    def _holders_and_listeners(self) -> Iterator[tuple[LeafHolder, SecretListener]]:
        for holder, listeners in self._listeners.items():
            for listener in listeners:
                yield holder, listener

    def _renew(self) -> float:
        """Bring all up to date, and return for how many seconds nothing is to be done."""
        now, state = self._clock(), self._authority.state
        if self._retry_at is not None and now < self._retry_at:
            return (self._retry_at - now).total_seconds()
        self._retry_at = None
        due = {*self._leaf_certificates.due(now), *self._renamed()}
        if state != self._issued_state:
            due.update(self._tables)
            self._issued_state, self._roots = state, None
        failed = False
        for holder in due:
            if holder not in self._tables:
                self._leaf_certificates.forget(holder)
                continue
            try:
                change = self._update(holder, self._tables[holder])
            except BadCertificate:
                log.exception("certificate not issued", extra={"identity": holder.who.uri})
                failed = True
                continue
            for listener in tuple(self._listeners.get(holder, ())):
                listener.changed(change)
        if failed:
            self._issued_state, self._retry_at = None, now + dt.timedelta(seconds=_RETRY_S)
            return _RETRY_S
        next_due = self._leaf_certificates.next_due()
        return max((next_due - now).total_seconds(), 0.01) if next_due else 3600.0

    def _renamed(self) -> Iterator[LeafHolder]:
        """Yield, of some holders at a time, in turn, those whose workload has other names than their certificate says."""
        self._unchecked = self._unchecked or list(self._tables)
        looked_at, self._unchecked = self._unchecked[:_MOST_NAMES], self._unchecked[_MOST_NAMES:]
        for holder in looked_at:
            leaf = self._leaf_certificates.current(holder)
            if leaf and leaf.names != self._names_of(holder.who, holder.pod):
                yield holder

    def _update(self, holder: LeafHolder, table: Table) -> TableChange:
        state = self._authority.state
        leaf = self._leaf_certificates.leaf(holder, state.signing, self._clock(), self._names_of(holder.who, holder.pod))
        identity = checked_resource(SDS, secrets.IDENTITY, secrets.certificate(secrets.IDENTITY, leaf.chain, leaf.key))
        if self._roots is None:
            self._roots = checked_resource(SDS, secrets.ROOTS, secrets.roots(secrets.ROOTS, state.bundle))
        return table.apply({SDS: {secrets.IDENTITY: identity, secrets.ROOTS: self._roots}}, {})
