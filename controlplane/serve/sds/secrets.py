"""Which secrets a stream sees: its own certificate and the roots, joined to its view and to no other's. They never enter the database."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import LeafCertificates, LeafHolder
from controlplane.ca.rotation import AuthorityState
from controlplane.envoy.type_urls import SDS
from controlplane.mesh.publish.encode import checked_resource
from controlplane.translate.tls import secrets
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Progress
from controlplane.xds.view import Table, TableChange

log = logging.getLogger(__name__)

_AGAIN_S = 5.0  # after something could not be issued


class SigningAuthority(Protocol):
    """Who issues."""

    @property
    def state(self) -> AuthorityState:
        """Return whom to sign with and whom to trust."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever the state has become another."""


class SecretListener(Protocol):
    """A stream."""

    def changed(self, change: TableChange) -> None:
        """Take in that a table of the stream's view has changed."""

    def progress(self, resource: Resource) -> Progress:
        """Return how far the peer has come with ``resource``."""


class CredentialSource(Protocol):
    """Who has the credentials that objects name."""

    async def ask(self, holder: LeafHolder, names: Iterable[str]) -> None:
        """Put among the secrets of ``holder`` what it may have of ``names``."""

    def leave(self, holder: LeafHolder) -> None:
        """Forget what ``holder`` asked for."""

    def counts(self) -> dict[str, int]:
        """Return how many credentials are held and how many are unusable, a proxy and a name each."""


class Secrets:
    """Keeps the secrets of all streams that have an identity."""

    def __init__(self, authority: SigningAuthority, vault: LeafCertificates, clock: Callable[[], dt.datetime]) -> None:
        """Issue by ``authority`` into ``vault``; ``clock`` gives the time, with its zone."""
        self._authority = authority
        self._vault = vault
        self._clock = clock
        self._tables: dict[LeafHolder, Table] = {}
        self._listeners: dict[LeafHolder, set[SecretListener]] = defaultdict(set)
        self._news = asyncio.Event()
        self._seen: AuthorityState | None = None  # that all secrets are of
        self._roots: Resource | None = None
        self.credentials: CredentialSource | None = None
        self._again_at: dt.datetime | None = None  # something could not be issued: nobody tries before
        authority.on_change(self._changed)

    def open(self, holder: LeafHolder) -> Table:
        """Return the secrets of ``holder``, for its view; raises BadCertificate where nothing can be issued."""
        if self._authority.state != self._seen:
            self._renew()
        table = self._tables.get(holder) or Table(holder)
        self._fill(holder, table)
        self._tables[holder] = table
        self._news.set()
        return table

    def join(self, holder: LeafHolder, listener: SecretListener) -> None:
        """Tell ``listener`` from now on what changes for ``holder``."""
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

    async def ask(self, holder: LeafHolder, names: Iterable[str]) -> None:
        """Look what ``holder`` may have of ``names``, before it is answered."""
        if self.credentials:
            await self.credentials.ask(holder, names)

    def put(self, holder: LeafHolder, there: Mapping[str, Resource], gone: frozenset[str]) -> None:
        """Have ``there`` among the secrets of ``holder``, and none of the names ``gone``; its streams are told what changes."""
        if table := self._tables.get(holder):
            change = table.apply({SDS: there}, {SDS: gone})
            if change.updated or change.removed:
                for each in tuple(self._listeners.get(holder, ())):
                    each.changed(change)

    async def run(self) -> None:
        """Renew what is due, and hand on what has changed, until cancelled."""
        while True:
            self._news.clear()
            wait = self._renew()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                continue

    def waiting(self) -> tuple[int, int]:
        """Return how many streams have not accepted the bundle as it is now, and how many have a certificate that is not by who signs now.

        A stream that has asked for neither has nothing to accept: what it asks for later is of today.
        """
        bundle = leaf = 0
        for holder, listener in self._all():
            held = self._tables[holder].of_type(SDS)
            bundle += listener.progress(held[secrets.ROOTS]) in (Progress.PENDING, Progress.REFUSED)
            known = self._vault.current(holder)
            old = known is None or known.issued_by != self._authority.state.signing.fingerprint
            leaf += old or listener.progress(held[secrets.IDENTITY]) in (Progress.PENDING, Progress.REFUSED)
        return bundle, leaf

    def _changed(self) -> None:
        """Look at once: whoever signs now may be able to."""
        self._again_at = None
        self._news.set()

    def _all(self) -> Iterator[tuple[LeafHolder, SecretListener]]:
        for holder, listeners in self._listeners.items():
            for each in listeners:
                yield holder, each

    def _renew(self) -> float:
        """Bring all up to date, and return for how many seconds nothing is to be done."""
        now, state = self._clock(), self._authority.state
        if self._again_at is not None and now < self._again_at:
            return (self._again_at - now).total_seconds()
        self._again_at = None
        wanted = set(self._vault.due(now))
        if state != self._seen:
            wanted.update(self._tables)
            self._seen, self._roots = state, None
        again = False
        for holder in wanted:
            if holder not in self._tables:
                self._vault.forget(holder)
                continue
            try:
                change = self._fill(holder, self._tables[holder])
            except BadCertificate:
                log.exception("certificate not issued", extra={"identity": holder.who.uri})
                again = True
                continue
            for each in tuple(self._listeners.get(holder, ())):
                each.changed(change)
        if again:
            self._seen, self._again_at = None, now + dt.timedelta(seconds=_AGAIN_S)
            return _AGAIN_S
        following = self._vault.next_due()
        return max((following - now).total_seconds(), 0.01) if following else 3600.0

    def _fill(self, holder: LeafHolder, table: Table) -> TableChange:
        state = self._authority.state
        leaf = self._vault.leaf(holder, state.signing, self._clock())
        own = checked_resource(SDS, secrets.IDENTITY, secrets.certificate(secrets.IDENTITY, leaf.chain, leaf.key))
        if self._roots is None:
            self._roots = checked_resource(SDS, secrets.ROOTS, secrets.roots(secrets.ROOTS, state.bundle))
        return table.apply({SDS: {secrets.IDENTITY: own, secrets.ROOTS: self._roots}}, {})
