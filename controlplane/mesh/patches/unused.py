"""Patches that fit nothing: they are for proxies that are connected, and for no resource that any of these sees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from controlplane.incremental.database import Database
from controlplane.mesh import inputs
from controlplane.mesh.publish.publisher import Publisher
from controlplane.model.keys import Key
from controlplane.translate.patches.patch import PatchRef


class UnusedPatches:
    """Counts for how many proxies each patch is, and tells the database which of them were for nothing that ``publisher`` publishes."""

    def __init__(self, db: Database, publisher: Publisher) -> None:
        """Begin with no proxy."""
        self._db = db
        self._publisher = publisher
        self._proxies: Counter[PatchRef] = Counter()
        self._told: set[Key] = set()
        self._changes = 0  # of what patches are for proxies
        self._noted = (0, 0)  # of what was published and counted, when the database was told last

    def replace(self, before: Iterable[PatchRef], now: Iterable[PatchRef]) -> None:
        """Take note that the patches for a proxy were those ``before``, and are those ``now``."""
        gone, new = Counter(before), Counter(now)
        if gone != new:
            self._changes += 1
            self._proxies.update(new)
            self._proxies -= gone

    def note(self) -> None:
        """Tell the database which patches fit nothing, where that may have changed."""
        state = self._publisher.patch_changes, self._changes
        if state == self._noted:
            return
        self._noted = state
        unused: dict[Key, set[PatchRef]] = defaultdict(set)
        for ref in self._proxies:
            if ref not in self._publisher.patch_uses:
                unused[ref.key].add(ref)
        for key in self._told | unused.keys():
            inputs.set_unused_patches(self._db, key, frozenset(unused.get(key, ())))
        self._told = set(unused)
