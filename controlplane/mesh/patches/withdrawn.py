"""Patches that a proxy does not take: what it refuses with them it is sent without them.

Each is tried by itself, the most suspect first, and all together last. It is taken from that proxy alone: others may know what this one
does not, and a proxy cannot take from others what protects them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controlplane.incremental.database import Database, Failed
from controlplane.mesh import inputs
from controlplane.mesh.patches.compiled import patch_digest
from controlplane.mesh.publish.publisher import Publisher
from controlplane.model.keys import ENVOY_FILTER, Key
from controlplane.translate.patches.patch import PatchFault, PatchRef
from controlplane.xds.view import Table, folder

_MOST_TRIALS = 64  # resources of one proxy
_MOST_FAULTS = 20  # of one EnvoyFilter that are told
_MESSAGE = 400  # characters of what a proxy says

Refused = tuple[str, str]  # type and name of a resource
# Of a table: the patches to the resource of a type and name, the most suspect first where that is refused with a message.
Suspects = Callable[[Table, str, str, str], tuple[PatchRef, ...]]


@dataclass(slots=True)
class _Trial:
    """What is tried of one resource: ``suspects[position]`` is left out; then all of them; then none, as it is not their fault."""

    suspects: tuple[PatchRef, ...]
    message: str
    position: int = 0

    @property
    def out(self) -> tuple[PatchRef, ...]:
        if self.position < len(self.suspects):
            return self.suspects[self.position : self.position + 1]
        return self.suspects if self.position == len(self.suspects) else ()


class WithdrawnPatches:
    """Knows which patches which proxies refuse, and tells the database, with what speaks against patches that others have met."""

    def __init__(self, db: Database, publisher: Publisher, suspects: Suspects) -> None:
        """Begin with nothing refused; ``suspects`` finds the patches in a resource."""
        self._db = db
        self._publisher = publisher
        self._suspects = suspects
        self._trials: dict[str, dict[Refused, _Trial]] = {}
        self._told: set[Key] = set()
        self._changes = 0  # of what is refused
        self._noted = (0, 0)  # of what was published and refused, when the database was told last

    def refused(self, proxy: str, tables: Iterable[Table], type_url: str, name: str, message: str) -> bool:
        """Take note that the proxy with the id ``proxy``, which sees ``tables``, refuses ``name``, a resource or a host in one.

        Return whether that changes anything.
        """
        trials = self._trials.setdefault(proxy, {})
        for whole in (name, folder(name)):
            trial = trials.get((type_url, whole))
            if trial is not None and trial.position <= len(trial.suspects):
                trial.position += 1 if len(trial.suspects) > 1 else 2  # one of one was all of them
                trial.message = message[:_MESSAGE]
                self._tell(proxy)
                return True
            for table in tables if trial is None and whole and len(trials) < _MOST_TRIALS else ():
                if suspects := self._suspects(table, type_url, whole, message):
                    trials[type_url, whole] = _Trial(suspects, message[:_MESSAGE])
                    self._tell(proxy)
                    return True
        return False

    def forget(self, proxy: str) -> None:
        """Forget what the proxy with the id ``proxy`` has refused: it is gone."""
        if self._trials.pop(proxy, None):
            self._changes += 1
            inputs.set_refused_patches(self._db, proxy, frozenset())

    def changed(self, keys: Iterable[Key]) -> None:
        """Take note that the objects ``keys`` have changed: what was refused of them is tried again."""
        filters = {key for key in keys if key.group_kind == ENVOY_FILTER}
        for proxy, trials in self._trials.items() if filters else ():
            stale = [refused for refused, trial in trials.items() if any(ref.key in filters for ref in trial.suspects)]
            for refused in stale:
                del trials[refused]
            if stale:
                self._tell(proxy)

    def note_faults(self) -> None:
        """Tell the database what speaks against patches now, where that may have changed."""
        state = self._publisher.patch_changes, self._changes
        if state == self._noted:
            return
        self._noted = state
        faults: dict[Key, set[PatchFault]] = defaultdict(set)
        for patched in self._publisher.patched.values():
            for fault in patched.faults:
                faults[fault.ref.key].add(fault)
        for proxy, trials in self._trials.items():
            for (type_url, name), trial in trials.items():
                for ref in trial.out:
                    what = f"{type_url.rpartition('.')[2]} {name}"
                    message = f"{proxy} refused {what} with this patch, and has it without: {trial.message}"
                    faults[ref.key].add(PatchFault(ref, f"{ref.path}.patch", message))
        for key in self._told | faults.keys():
            inputs.set_patch_faults(self._db, key, tuple(sorted(faults.get(key, ())))[:_MOST_FAULTS])
        self._told = set(faults)

    def _tell(self, proxy: str) -> None:
        self._changes += 1
        out = {ref for trial in self._trials.get(proxy, {}).values() for ref in trial.out}
        digests = ((ref, self._db.attempt(patch_digest, ref)) for ref in out)
        refused = frozenset((ref, digest) for ref, digest in digests if not isinstance(digest, Failed))
        inputs.set_refused_patches(self._db, proxy, refused)
