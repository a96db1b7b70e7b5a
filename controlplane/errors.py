"""What we got wrong, as exceptions: each ends one piece of work, and what was published stays."""

from __future__ import annotations


class NavarchError(Exception):
    """The root of the exceptions of this program."""


class InvalidResource(NavarchError):
    """A resource that Envoy would refuse: it is not published."""

    def __init__(self, type_url: str, name: str, broken: tuple[str, ...]) -> None:
        """Say which constraints the resource ``name`` of ``type_url`` breaks."""
        super().__init__(f"{type_url.rpartition('.')[2]} {name}: {'; '.join(broken[:5])}")
