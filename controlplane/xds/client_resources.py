"""What a client has of one type. Most clients of a mesh have the same, and then it is one object for all of them."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from weakref import WeakValueDictionary

from immutables import Map

from controlplane.xds.resource import Resource

_MASK = (1 << 64) - 1

_Step = bytes | frozenset[str]  # what was put, by the identity of each; the names asked for


class ClientResources:
    """The resources of one client by name, ``None`` where it has nothing of a name that it asks for. It never changes.

    A change makes another one. Clients that have the same and are sent the same share one object: it is remembered which step led
    where, and who arrives by another way at what somebody else has is given that. So a stream costs no memory for each name.
    """

    __slots__ = ("__weakref__", "_content", "_digest", "_steps", "lacking")

    def __init__(self, content: Map[str, Resource | None], digest: int, lacking: int) -> None:
        """Hold ``content``; use ``NOTHING`` and the methods below instead.

        ``digest`` is the sum of a hash of each entry, ``lacking`` how many names the client asks for and has nothing of.
        """
        self._content = content
        self._digest = digest
        self.lacking = lacking
        self._steps: WeakValueDictionary[_Step, ClientResources] = WeakValueDictionary()

    def get(self, name: str) -> Resource | None:
        """Return what the client has as ``name``."""
        return self._content.get(name)

    def items(self) -> Iterable[tuple[str, Resource | None]]:
        """Return each name with what the client has of it."""
        return self._content.items()

    def __contains__(self, name: str) -> bool:
        """Return whether ``name`` is asked for."""
        return name in self._content

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._content)

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._content)

    def lacks(self, name: str) -> bool:
        """Return whether ``name`` is asked for and the client has nothing of it."""
        return name in self._content and self._content[name] is None

    def holds(self, content: Map[str, Resource | None]) -> bool:
        """Return whether ``content`` is what the client has."""
        return self._content == content

    def having(self, resources: Collection[Resource]) -> ClientResources:
        """Return what a client has that is given ``resources`` in addition, or in the place of those of these names."""
        if not resources:
            return self
        step = array("Q", map(id, resources)).tobytes()
        known = self._steps.get(step)
        if known is not None:
            return known
        result = self._changed([(each.name, each) for each in resources])
        if all(result.get(each.name) is each for each in resources):  # so these live as long as the result, and nobody else gets their ids
            self._steps[step] = result
        return result

    def having_nothing_of(self, names: Iterable[str]) -> ClientResources:
        """Return what a client has that asks for ``names`` and has nothing of them."""
        step = frozenset(names)
        if not step:
            return self
        known = self._steps.get(step)
        if known is None:
            known = self._steps[step] = self._changed([(name, None) for name in step])
        return known

    def without(self, names: Iterable[str]) -> ClientResources:
        """Return what a client has that has nothing of ``names`` and does not ask for them."""
        gone = [name for name in names if name in self._content]
        return self._changed((), gone) if gone else self

    def _changed(self, put: Iterable[tuple[str, Resource | None]], gone: Iterable[str] = ()) -> ClientResources:
        digest, lacking = self._digest, self.lacking
        content = self._content.mutate()
        for name, resource in put:
            if name in content:
                before = content[name]
                digest -= _hash(name, before)
                lacking -= before is None
            digest += _hash(name, resource)
            lacking += resource is None
            content[name] = resource
        for name in gone:
            before = content.pop(name)
            digest -= _hash(name, before)
            lacking -= before is None
        finished, digest = content.finish(), digest & _MASK
        known = _all.get(digest)
        if known is not None and known.holds(finished):
            return known
        made = ClientResources(finished, digest, lacking)
        _all.setdefault(digest, made)
        return made


def _hash(name: str, resource: Resource | None) -> int:
    return hash((name, resource.version, bool(resource.frame)) if resource else name)


_all: WeakValueDictionary[int, ClientResources] = WeakValueDictionary()  # by digest, as long as somebody has them
_all[0] = NOTHING = ClientResources(Map(), 0, 0)
