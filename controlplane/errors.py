"""The exceptions of this program, by who has to do something about it.

::

    NavarchError
    +-- UserError       what somebody has written or asked for cannot be used: they are told what was expected
    +-- PeerError       a proxy, a client or the API server's webhook says what it must not: it is refused
    +-- PlatformError   what we depend on does not answer, or not as it should: what was known stays, and it is tried again
    +-- Bug             we are wrong: it ends one piece of work, it is logged, and what was published stays

An exception that only leads from one place of a module to another stands there, outside of the tree, as does what the engine raises:
``incremental`` knows nothing of this program (``tests/unit/repository/test_errors.py`` names them).
"""

from __future__ import annotations


class NavarchError(Exception):
    """The root of the exceptions of this program."""


class UserError(NavarchError):
    """What somebody has written or asked for cannot be used; the text says what was expected."""


class PeerError(NavarchError):
    """Whoever is connected says what it must not; the text is an answer that it may be given."""


class PlatformError(NavarchError):
    """What we depend on does not answer, or not as it should."""


class Bug(NavarchError):
    """We are wrong."""


class InvalidResource(Bug):
    """A resource that Envoy would refuse: it is not published."""

    def __init__(self, type_url: str, name: str, broken: tuple[str, ...]) -> None:
        """Say which constraints the resource ``name`` of ``type_url`` breaks."""
        super().__init__(f"{type_url.rpartition('.')[2]} {name}: {'; '.join(broken[:5])}")
