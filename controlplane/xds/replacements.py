"""What stands in for the configuration of an extension that a client refuses: else it refuses every listener that names it from then on.

An Envoy keeps what it has refused as the last that it was sent, and makes the filters of new listeners of it. So it is sent again what it
had accepted before, or what the resource itself has as its ``fallback``.
"""

from __future__ import annotations

from controlplane.xds.resource import Resource


class Replacements:
    """What stands in for resources of one type, on one stream."""

    def __init__(self) -> None:
        """Begin with nothing refused."""
        self._by_name: dict[str, tuple[str, Resource]] = {}  # by name: the version that was refused, and what stands in for it

    def __bool__(self) -> bool:
        """Return whether anything is not sent as it is published."""
        return bool(self._by_name)

    def refused(self, sent: Resource, before: Resource | None) -> list[str]:
        """Take note that ``sent`` was refused by who had ``before``; return its name where there is something to send in its place."""
        replacement = before if before is not None and before.frame else sent.fallback
        if replacement is None or replacement.version == sent.version:
            return []
        self._by_name[sent.name] = sent.version, replacement
        return [sent.name]

    def fit(self, published: Resource) -> Resource:
        """Return what to send of ``published``."""
        refused, replacement = self._by_name.get(published.name, ("", published))
        if refused == published.version:
            return replacement
        self._by_name.pop(published.name, None)
        return published

    def stands_in(self, published: Resource) -> bool:
        """Return whether something else is sent than ``published``, as that was refused."""
        refused, _ = self._by_name.get(published.name, ("", None))
        return refused == published.version
