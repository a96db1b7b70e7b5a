"""Bodies of answers: each is made once for a version of what it shows, in slices, and kept within bounds for those who ask again.

Whoever asks gets a body that shows everything that had happened when the question came. That is one of the same version, or one that was
begun afterwards for somebody else: many who ask at once for what changes all the time wait for one body together.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from controlplane.slices import LoopShare

CHUNK_BYTES = 64 << 10  # that are sent at a time
_MOST_BYTES = 32 << 20  # of all bodies that are kept
_MOST_BODIES = 256


@dataclass(frozen=True, slots=True)
class Body:
    """A body in chunks, and its ETag: equal bodies have equal ones, of other replicas too."""

    chunks: tuple[bytes, ...] = ()
    etag: str = ""

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return sum(map(len, self.chunks))


@dataclass(slots=True, eq=False)
class _Slot:
    """The newest body of one page."""

    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    body: Body | None = None
    number: int = 0  # of bodies that were begun when it was
    version: object = None


class Bodies:
    """The bodies that were made last."""

    def __init__(self, share: LoopShare) -> None:
        """Make bodies within ``share``."""
        self._share = share
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()  # who was asked for last comes last
        self._begun = 0
        self._bytes = 0

    async def get(self, page: Hashable, pieces: Callable[[], Iterable[bytes]], version: Callable[[], object] | None = None) -> Body:
        """Return the body of ``page``: ``pieces`` make it where none of ``version`` is there; without, nobody knows what version it has."""
        begun_before = self._begun
        slot = self._slots.setdefault(page, _Slot())
        self._slots.move_to_end(page)
        self._make_room()
        async with slot.making:
            body = slot.body
            newest = version() if version else None
            if body is None or (slot.number <= begun_before and (version is None or slot.version != newest)):
                self._begun = number = self._begun + 1
                body = await self._make(pieces())
                self._keep(page, slot, body)
                slot.number, slot.version = number, newest
            return body

    async def _make(self, pieces: Iterable[bytes]) -> Body:
        digest = hashlib.blake2b(digest_size=16)
        chunks = [chunk async for chunk in self._share.in_slices(_chunks(pieces, digest.update)) if chunk]
        return Body(tuple(chunks), f'"{digest.hexdigest()}"')

    def _keep(self, page: Hashable, slot: _Slot, body: Body) -> None:
        if self._slots.get(page) is slot:  # it may have had to make room meanwhile: then who waits for it shares it all the same
            self._bytes += body.size - (slot.body.size if slot.body else 0)
        slot.body = body
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > _MOST_BYTES or len(self._slots) > _MOST_BODIES:
            _, oldest = self._slots.popitem(last=False)
            self._bytes -= oldest.body.size if oldest.body else 0


def _chunks(pieces: Iterable[bytes], note: Callable[[bytes], None]) -> Iterator[bytes]:
    """Yield ``pieces`` in chunks, and nothing where a chunk is not whole yet; ``note`` gets each."""
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        while len(chunk) >= CHUNK_BYTES:
            whole = bytes(chunk[:CHUNK_BYTES])
            del chunk[:CHUNK_BYTES]
            note(whole)
            yield whole
        yield b""
    rest = bytes(chunk)
    note(rest)
    yield rest
