"""What an explanation says: legs of a way, their steps, and the objects behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.model.keys import Key
from controlplane.objects.locations import Location


@dataclass(frozen=True, slots=True)
class FieldOrigin:
    """A field of an object that has made something, and where it is written, as far as that is known."""

    key: Key
    field: str
    location: Location | None = None

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        where = self.location
        return {
            "object": str(self.key),
            "field": self.field,
            "file": where.file if where else None,
            "line": where.line or None if where else None,
        }

    def __str__(self) -> str:
        """Return ``Kind/namespace/name field (file:line)``."""
        return " ".join(filter(None, (str(self.key), self.field, f"({self.location})" if self.location else "")))


@dataclass(frozen=True, slots=True)
class LostRule:
    """A route or a policy's rule that came before and did not fit, and the first condition of it that failed."""

    what: str
    why: str
    origins: tuple[FieldOrigin, ...] = ()

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {"what": self.what, "why": self.why, "origins": [origin.row() for origin in self.origins]}


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """One decision of a proxy, with what else is worth knowing of what was chosen (``details``, by name)."""

    stage: str
    chosen: str
    reason: str
    origins: tuple[FieldOrigin, ...] = ()
    lost: tuple[LostRule, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {
            "stage": self.stage,
            "chosen": self.chosen,
            "reason": self.reason,
            "origins": [origin.row() for origin in self.origins],
            "lost": [lost.row() for lost in self.lost],
            "details": dict(self.details),
        }


class TrafficVerdict(StrEnum):
    """Whether something arrives."""

    ALLOWED = "allowed"
    SENT = "sent"  # to where no proxy is known that would judge it
    DENIED = "denied"
    ANSWERED = "answered"  # by a proxy itself: a redirect, a fault, a direct response
    LOST = "lost"  # it comes to nobody, though nobody has forbidden it
    UNKNOWN = "unknown"  # it depends on what is not simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way that traffic may go at one proxy: its ``share``, where it ``ends`` in words, and what is said at the other side."""

    share: str
    ends: str
    verdict: TrafficVerdict
    why: str = ""
    steps: tuple[ExplainedStep, ...] = ()
    status: int | None = None
    mirrors: tuple[str, ...] = ()
    other_sides: tuple[OtherSide, ...] = ()

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {
            "share": self.share,
            "ends": self.ends,
            "verdict": self.verdict.value,
            "why": self.why,
            "status": self.status,
            "mirrors": list(self.mirrors),
            "steps": [step.row() for step in self.steps],
            "otherSides": [side.row() for side in self.other_sides],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSide:
    """What the proxy at ``endpoints``, one of which it comes to, makes of it; ``unknown`` says why nobody can tell."""

    endpoints: tuple[str, ...]
    proxy: str
    transport: str
    ways: tuple[Way, ...] = ()
    unknown: str = ""

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {
            "endpoints": list(self.endpoints),
            "proxy": self.proxy or None,
            "transport": self.transport,
            "unknown": self.unknown or None,
            "ways": [way.row() for way in self.ways],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What becomes of what was asked about, by ``proxy``."""

    proxy: str
    asked: str
    notes: tuple[str, ...]
    ways: tuple[Way, ...]

    @property
    def verdict(self) -> TrafficVerdict:
        """Return what all ways have in common; unknown where they differ."""
        verdicts = {way.verdict for way in self.ways}
        return verdicts.pop() if len(verdicts) == 1 else TrafficVerdict.UNKNOWN

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {
            "proxy": self.proxy,
            "asked": self.asked,
            "verdict": self.verdict.value,
            "notes": list(self.notes),
            "ways": [way.row() for way in self.ways],
        }
