"""What objects name that is to be fetched for them: the keys of token issuers, and modules."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controlplane.incremental.database import Database, Failed, QueryCall
from controlplane.mesh.access.jwks import WantedKeys, wanted_keys
from controlplane.mesh.extensions.programs import wanted_modules
from controlplane.objects.extensions.modules import ModuleSource


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where issuers' keys are, and modules; ``None`` where that has not changed."""

    keys: WantedKeys | None = None
    modules: frozenset[ModuleSource] | None = None


NOTHING_NEW = Wanted()


class WantedChanges:
    """Collects what has changed of that."""

    def __init__(self, db: Database) -> None:
        """Watch ``db``."""
        self._db = db
        self._changed = NOTHING_NEW
        db.watch(wanted_keys)
        db.watch(wanted_modules)

    def take(self, call: QueryCall) -> None:
        """Note that the value of ``call`` has changed, where it is about that; where it failed, the previous one stays."""
        if call.query is wanted_keys:
            keys = self._db.peek(wanted_keys)
            self._changed = self._changed if isinstance(keys, Failed) else replace(self._changed, keys=keys)
        elif call.query is wanted_modules:
            modules = self._db.peek(wanted_modules)
            self._changed = self._changed if isinstance(modules, Failed) else replace(self._changed, modules=modules)

    def flush(self) -> Wanted:
        """Return what has changed since the last call."""
        changed, self._changed = self._changed, NOTHING_NEW
        return changed
