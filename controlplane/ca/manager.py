"""The authority as one control plane has it: read from where it is stored, begun where there is none, and rotated step by step."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from controlplane.ca.certificates import BadCertificate, key_pem
from controlplane.ca.rotation import (
    CACERTS,
    TLS_SECRET,
    AuthorityState,
    OutOfOrder,
    dump_state,
    initial_state,
    issuer_from_files,
    load_state,
    new_issuer,
    read_key,
)
from controlplane.errors import NavarchError
from controlplane.telemetry import OngoingFailure

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_TRIES = 10


class StateStore(Protocol):
    """Where one value is kept, the same for all who read it; errors are NavarchError or OSError."""

    async def read(self) -> bytes | None:
        """Return what is stored, ``None`` if nothing is."""

    async def write(self, content: bytes, before: bytes | None) -> bool:
        """Store ``content`` if what is stored is ``before``; return whether it was."""


class PluggedIn:
    """The files of somebody else's authority, in the layout of Istio's Secret ``cacerts`` or of a Secret of type kubernetes.io/tls.

    They are read and never written. Where both are there, those of kubernetes.io/tls count, as in Istio.
    """

    def __init__(self, root: Path) -> None:
        """Read the folder ``root``."""
        self._root = root

    async def read(self) -> bytes | None:
        """Return the state that the files make; raises BadCertificate, OSError."""
        return await asyncio.to_thread(self._read)

    async def write(self, content: bytes, before: bytes | None) -> bool:
        """Raise OutOfOrder: the files are rotated from outside."""
        del content, before
        raise OutOfOrder(f"the authority is plugged in: it is rotated by writing its files anew in {self._root}")

    def _read(self) -> bytes:
        names = TLS_SECRET if (self._root / TLS_SECRET.certificate).exists() else CACERTS
        files = {name: (self._root / name).read_bytes() for name in names}
        try:
            return dump_state(initial_state(issuer_from_files(files, names)))
        except BadCertificate as error:
            raise BadCertificate(f"{self._root}: {error}") from error


class Observed:
    """An authority that others begin and rotate: it is read and never written."""

    def __init__(self, store: StateStore, where: str) -> None:
        """Read ``store``, which is ``where`` in the words of messages."""
        self._store = store
        self._where = where

    async def read(self) -> bytes | None:
        """Return the state that others have stored; raises NavarchError, OSError."""
        return await self._store.read()

    async def write(self, content: bytes, before: bytes | None) -> bool:
        """Raise OutOfOrder: others do that."""
        del content, before
        raise OutOfOrder(f"there is no authority in {self._where}: a control plane with --replica begins one, --state keeps one of its own")


class AuthorityManager:
    """The state of an authority, always that which is stored."""

    def __init__(self, store: StateStore, make_key: Callable[[], EllipticCurvePrivateKey], clock: Callable[[], dt.datetime]) -> None:
        """Keep it in ``store``; new roots have keys by ``make_key`` and begin when ``clock`` says it is now."""
        self._store = store
        self._make_key = make_key
        self._clock = clock
        self._stored: bytes | None = None
        self._state: AuthorityState | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def state(self) -> AuthorityState:
        """Return the state as it was read last."""
        if self._state is None:
            raise RuntimeError("the authority is not open")
        return self._state

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever the state has changed."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Read the state, and begin one where there is none; raises NavarchError, OSError."""
        for _ in range(_TRIES):
            if await self.reload():
                return
            new_state = dump_state(initial_state(new_issuer(self._make_key(), self._clock())))
            if await self._store.write(new_state, None):
                log.info("authority begun")
        raise BadCertificate("the authority can be neither read nor begun")

    async def run(self) -> None:
        """See what others store, until cancelled."""
        failure = OngoingFailure(log, "authority not read", "authority read again")
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.reload()
            except (NavarchError, OSError) as error:
                failure.failed(str(error))
            else:
                failure.worked()

    async def step(self, change: Callable[[AuthorityState], AuthorityState]) -> AuthorityState:
        """Store what ``change`` makes of the state, and return it; raises what ``change`` raises, NavarchError, OSError."""
        for _ in range(_TRIES):
            await self.reload()
            next_state = change(self.state)
            if await self._store.write(dump_state(next_state), self._stored):
                await self.reload()
                log.info("authority changed", extra={"phase": next_state.phase.value})
                return next_state
        raise OutOfOrder("the authority is being changed by somebody else")

    async def reload(self) -> bool:
        """Read what is stored, and return whether there is anything; raises NavarchError, OSError."""
        stored = await self._store.read()
        if stored is None:
            return False
        if stored != self._stored:
            self._state = load_state(stored)
            self._stored = stored
            for listener in self._listeners:
                listener()
        return True


async def stored_key(store: StateStore, make_key: Callable[[], EllipticCurvePrivateKey]) -> EllipticCurvePrivateKey:
    """Return the key that is stored, made by ``make_key`` where there is none; raises NavarchError, OSError."""
    for _ in range(_TRIES):
        stored = await store.read()
        if stored is not None:
            return read_key(stored)
        await store.write(key_pem(make_key()), None)
    raise BadCertificate("a key can be neither read nor made")
