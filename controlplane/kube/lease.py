"""A Lease: one of all candidates holds it, and a holder that falls silent loses it.

Time is this machine's monotonic clock alone: another holder counts as silent when its record has not changed for the Lease's duration as
seen from here, and we count as silent for ourselves well before that, also if this process was stopped in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.resources import LEASES
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json, number, section, text

log = logging.getLogger(__name__)

_RELEASE_S = 2.0  # of the time that there is for stopping


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """In seconds: after which silence a Lease is free, after which we believe that ourselves, and how often it is looked at."""

    duration_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0


async def _always(_: Json) -> bool:
    return True


def _ignore(_: str) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """What a candidate says of itself in the Lease, and whether it may take a free one, as its last holder has left it.

    ``when_taken`` is called with who holds it as often as somebody else is seen to.
    """

    annotations: Mapping[str, str] = field(default_factory=dict)
    may_take: Callable[[Json], Awaitable[bool]] = _always
    when_taken: Callable[[str], None] = _ignore


class Leadership(Protocol):
    """The right to act for all replicas, which may be lost at any time; a Lease gives it."""

    @property
    def is_leader(self) -> bool:
        """Return whether it is ours now."""


class NoLease:
    """The part of somebody who only observes: nothing is ever theirs."""

    is_leader = False


class Lease:
    """Our part in who holds the Lease ``name``."""

    def __init__(
        self,
        client: Client,
        key: tuple[str, str],
        holder: str,
        random: Callable[[], float],
        timing: LeaseTiming | None = None,
        candidacy: Candidacy | None = None,
    ) -> None:
        """Want the Lease ``key``, its namespace and name, as ``holder``, which is the name of this process and of no other."""
        self._client = client
        self._namespace, self._name = key
        self._holder = holder
        self._random = random
        self._timing = timing or LeaseTiming()
        self._candidacy = candidacy or Candidacy()
        self._until = 0.0  # of the monotonic clock: how long it is ours
        self._seen: tuple[str, str] = ("", "")  # who held it and what it said last
        self._seen_at = 0.0
        self.looked = asyncio.Event()  # set when it has been looked at once, or could not be
        self._failure = OngoingFailure(log, "lease not renewed", "lease renewed again", lease=self._name)

    @property
    def is_leader(self) -> bool:
        """Return whether it is ours at this moment: to be asked right before everything that is done in its name."""
        return time.monotonic() < self._until

    async def run(self) -> None:
        """Try to get it and to keep it, until cancelled; then give it back."""
        try:
            while True:
                was = self.is_leader
                try:
                    await self._try()
                except KubernetesError as error:
                    if not (isinstance(error, StatusError) and error.conflict):  # another candidate was quicker
                        self._failure.failed(str(error), error.kind)
                else:
                    self._failure.worked()
                self.looked.set()
                if was != self.is_leader:
                    log.info("lease held" if self.is_leader else "lease lost", extra={"lease": self._name, "holder": self._holder})
                await asyncio.sleep(self._timing.retry_s * (0.9 + self._random() / 5))
        finally:
            if self.is_leader:
                with contextlib.suppress(TimeoutError):  # whoever cannot be told waits until it is free by itself
                    async with asyncio.timeout(_RELEASE_S):
                        await self._release()

    async def _try(self) -> None:
        began = time.monotonic()
        try:
            lease = await self._client.get(LEASES.path(self._namespace, self._name))
        except StatusError as error:
            if not error.not_found:
                raise
            if not await self._candidacy.may_take({}):
                return
            await self._client.create(LEASES.path(self._namespace), self._record({}, 0))
            self._until = began + self._timing.renew_s
            return
        spec = section(lease, "spec")
        holder, version = text(spec, "holderIdentity"), text(section(lease, "metadata"), "resourceVersion")
        if (holder, version) != self._seen:
            self._seen, self._seen_at = (holder, version), began
        free = not holder or began - self._seen_at > self._timing.duration_s
        if holder == self._holder or (free and await self._candidacy.may_take(lease)):
            changes = number(spec, "leaseTransitions") + (holder != self._holder)
            await self._client.replace(LEASES.path(self._namespace, self._name), self._record(section(lease, "metadata"), changes))
            self._until = began + self._timing.renew_s
        else:
            self._until = 0.0
            if not free:
                self._candidacy.when_taken(holder)

    async def _release(self) -> None:
        self._until = 0.0
        try:
            lease = await self._client.get(LEASES.path(self._namespace, self._name))
            if text(section(lease, "spec"), "holderIdentity") == self._holder:
                spec = {**section(lease, "spec"), "holderIdentity": ""}
                await self._client.replace(LEASES.path(self._namespace, self._name), {**lease, "spec": spec})
        except KubernetesError as error:
            log.info("lease not given back", extra={"lease": self._name, "reason": str(error)})

    def _record(self, metadata: Json, changes: int) -> Json:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Json = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": round(self._timing.duration_s),
            "renewTime": now,
            "leaseTransitions": changes,
        }
        annotations = {**section(metadata, "annotations"), **self._candidacy.annotations}
        named = {"name": self._name, "namespace": self._namespace, **metadata, "annotations": annotations}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": named, "spec": spec}
