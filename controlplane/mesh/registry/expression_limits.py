"""Of how many instructions a regular expression may be that every connected proxy takes: Envoy refuses a resource with a longer one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import ProxyPlace, expression_limits, set_expression_limit
from controlplane.model.proxies import DEFAULT_EXPRESSION_LIMIT, Proxy

ANYWHERE = ""  # in place of a namespace


class ExpressionLimits:
    """Counts the connected proxies by their limit, and sets from that the strictest of each namespace and of all."""

    def __init__(self, db: Database) -> None:
        """Keep it in ``db``."""
        self._db = db
        self._counts: dict[ProxyPlace, Counter[int]] = defaultdict(Counter)

    def connected(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has connected."""
        self._count(proxy, 1)

    def disconnected(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has disconnected."""
        self._count(proxy, -1)

    def _count(self, proxy: Proxy, more: int) -> None:
        for namespace in (proxy.namespace, ANYWHERE):
            place = (namespace, proxy.type)
            counts = self._counts[place]
            counts[proxy.expression_limit] += more
            if not counts[proxy.expression_limit]:
                del counts[proxy.expression_limit]
            if not counts:
                del self._counts[place]
            set_expression_limit(self._db, place, min(counts, default=None))


def strictest_limit(db: Database, places: Iterable[ProxyPlace]) -> int | None:
    """Return the strictest limit of the connected proxies of ``places``; ``None`` where there is none."""
    return min((limit for place in places if (limit := expression_limits(db, place)) is not None), default=None)


def large_expression(size: int, limit: int | None) -> str | None:
    """Return what is to be said of an expression of ``size`` instructions where ``limit`` is the strictest; ``None``: all take it.

    Without a limit no proxy is known that gets it: what counts is what an Envoy takes whose bootstrap does not allow more.
    """
    if size <= (DEFAULT_EXPRESSION_LIMIT if limit is None else limit):
        return None
    if limit is None:
        whom, most = "an Envoy refuses it whose bootstrap does not allow more", DEFAULT_EXPRESSION_LIMIT
    else:
        whom, most = "a connected proxy refuses it, whose bootstrap does not allow more", limit
    return f"this expression has {size} instructions, and {whom} than {most}"
