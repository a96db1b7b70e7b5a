"""What of a table stays as it was published, for a while: rules whose new version leads to what is not there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.deferrals import Deferral, MissingDestinations
from controlplane.xds.resource import Part, Reference, Resource, assembled

_WHOLE = ""  # instead of the name of a virtual host


class Holds:
    """What is held back in one table: whole resources, or single virtual hosts of an assembled one."""

    __slots__ = ("_hold_s", "_open")

    def __init__(self, hold_s: float) -> None:
        """Hold nothing yet, and nothing ever for longer than ``hold_s`` seconds."""
        self._hold_s = hold_s
        self._open: dict[Reference, dict[str, Deferral]] = {}

    def __bool__(self) -> bool:
        """Return whether anything is held back."""
        return bool(self._open)

    def __iter__(self) -> Iterator[Deferral]:
        """Yield what is held back."""
        for parts in self._open.values():
            yield from parts.values()

    @property
    def due(self) -> float | None:
        """Return when the first of it is to be let go."""
        return min((held.until for held in self), default=None)

    def ended(self, now: float) -> list[Reference]:
        """Return what is to be looked at again at ``now``. A clock that was set back ends them too."""
        return [name for name, parts in self._open.items() if not all(held.since <= now < held.until for held in parts.values())]

    def release(self, reference: Reference) -> None:
        """Forget what is held back of ``reference``."""
        self._open.pop(reference, None)

    def allowed(self, desired: Resource, before: Resource | None, now: float) -> Resource:
        """Return what is to be published at ``now`` of ``desired``, where ``before`` is published: that itself, or parts of both."""
        reference = desired.type_url, desired.name
        if before is None or not self._hold_s or not (desired.missing or reference in self._open):
            self.release(reference)
            return desired
        if desired.assembly is None or before.assembly is None:
            return before if self._holds(reference, _WHOLE, desired.missing - before.missing, now) else desired
        parts_before = {part.name: part for part in before.assembly.parts}
        parts = tuple(self._allowed_part(reference, part, parts_before.get(part.name), now) for part in desired.assembly.parts)
        for name in self._open.get(reference, {}).keys() - {part.name for part in parts}:
            self._let_go(reference, name)
        if parts == desired.assembly.parts:
            return desired
        return assembled(desired.type_url, desired.name, desired.assembly._replace(parts=parts))

    def _allowed_part(self, reference: Reference, part: Part, before: Part | None, now: float) -> Part:
        missing = part.missing - before.missing if before else part.missing
        held = before is not None and self._holds(reference, part.name, missing, now)
        return part.with_body_of(before) if held and before else part

    def _holds(self, reference: Reference, name: str, missing: MissingDestinations, now: float) -> bool:
        """Return whether ``name`` of ``reference`` stays as it is at ``now``, where ``missing`` is new in it."""
        held = self._open.get(reference, {}).get(name)
        if not missing or (held and not held.since <= now < held.until):
            self._let_go(reference, name)
            return False
        since = held.since if held else now
        self._open.setdefault(reference, {})[name] = Deferral(since, since + self._hold_s, missing)
        return True

    def _let_go(self, reference: Reference, name: str) -> None:
        parts = self._open.get(reference, {})
        parts.pop(name, None)
        if not parts:
            self._open.pop(reference, None)
