"""How far proxies have come with a fault: it is in force, or gone, once every one that needs it has accepted what it was told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.xds.stream import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultProgress:
    """Proxies by name: those that have accepted all of it, those of which that is still to come, and those that refuse or cannot have it.

    ``published``: they have been told.
    """

    published: bool
    accepted: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    unable: tuple[str, ...] = ()

    @property
    def is_reached(self) -> bool:
        """Return whether nothing is still to come."""
        return self.published and not self.pending

    @classmethod
    def of_all(cls, parts: Iterable[FaultProgress]) -> FaultProgress:
        """Return the progress of ``parts`` together."""
        all_parts = list(parts)
        unable = {name for part in all_parts for name in part.unable}
        pending = {name for part in all_parts for name in part.pending} - unable
        accepted = {name for part in all_parts for name in part.accepted} - pending - unable
        return cls(
            published=all(part.published for part in all_parts),
            accepted=tuple(sorted(accepted)),
            pending=tuple(sorted(pending)),
            unable=tuple(sorted(unable)),
        )


def progress_of_fault(by_proxy: Mapping[str, Progress], *, published: bool) -> FaultProgress:
    """Return the progress that ``by_proxy`` says, each proxy with the worst of its resources."""
    named: dict[Progress, list[str]] = {}
    for name, progress in sorted(by_proxy.items()):
        named.setdefault(progress, []).append(name)
    return FaultProgress(
        published=published,
        accepted=tuple(named.get(Progress.ACCEPTED, ())),
        pending=tuple(named.get(Progress.PENDING, ())),
        unable=tuple(sorted((*named.get(Progress.REFUSED, ()), *named.get(Progress.PARTLY, ())))),
    )
