"""Which files that have changed can be read: those that nobody has written to for a moment. Pure: the clock is an argument.

An editor and ``cp`` write a file in pieces, and half a policy is a broken one, which closes what it is for. A file that was moved into its
place is whole, and one that is written to without end is read all the same, now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from controlplane.sources.files.reading import FileState

QUIET_S = 0.05  # many times what lies between two writes of one program
MOST_S = 1.0  # that a file is waited for


@dataclass(frozen=True, slots=True)
class _ChangedFile:
    """A file as it was seen last, ``None`` where it was gone, and until when it is waited for; new writes do not put off ``latest``."""

    state: FileState | None
    due: float
    latest: float


class SettlingFiles:
    """The files that have changed and are not read yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed: dict[str, _ChangedFile] = {}

    @property
    def paths(self) -> AbstractSet[str]:
        """Return the files that are waited for."""
        return self._changed.keys()

    @property
    def due(self) -> float | None:
        """Return when ``quiet`` has to be asked next though nothing was heard of any file, or ``None``."""
        return min((changed.due for changed in self._changed.values()), default=None)

    def quiet(self, states: Mapping[str, FileState | None], whole: AbstractSet[str], now: float) -> set[str]:
        """Take in the ``states`` that files have ``now``, and return those to be read; of these files some are known to be ``whole``."""
        for path, state in states.items():
            changed = self._changed.get(path)
            latest = changed.latest if changed else now + MOST_S
            if changed is None or changed.state != state:
                self._changed[path] = _ChangedFile(state, min(now + QUIET_S, latest), latest)
        found = {path for path, changed in self._changed.items() if path in whole or changed.due <= now}
        for path in found:
            del self._changed[path]
        return found
