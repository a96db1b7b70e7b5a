"""What proxies say of their traffic: folded by cluster and locality, and forgotten with the proxy.

Envoy reports what was asked, what failed and what is under way, but no times. How long a request takes follows from the mean number that is
under way and from how many there are a second (Little's law): an estimate, good over many reports.
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/endpoint/v3/load_report.proto
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_CLUSTERS = 1000  # that are counted by name, and lines of one proxy that are kept: names are bounded in number
OTHERS = "others"
_MAX_LINES = 20_000
_MAX_NAME = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one report says of ``cluster`` and ``locality`` ("region/zone/subzone"), over some ``seconds``."""

    cluster: str
    locality: str
    requests: int  # begun
    errors: int  # of those that ended
    under_way: int  # now
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityLoad:
    """The traffic to ``locality`` of ``cluster``: since its proxies began to report, and as their last reports have it."""

    cluster: str
    locality: str
    proxies: int
    requests: int
    errors: int
    requests_per_s: float
    errors_per_s: float
    latency_ms: float | None  # estimated


@dataclass(slots=True)
class _LocalityTotals:
    requests: int = 0
    errors: int = 0
    busy_s: float = 0.0  # seconds of all requests together
    last: Traffic | None = None


@dataclass(slots=True)
class _ProxyTotals:
    at: float
    lines: dict[tuple[str, str], _LocalityTotals]


class LoadTotals:
    """The traffic of all proxies that report."""

    def __init__(self) -> None:
        """Begin with no reports."""
        self._accounts: dict[str, _ProxyTotals] = {}
        self.totals: dict[str, tuple[int, int]] = {}  # requests and errors by cluster, of all proxies there ever were

    def report(self, proxy: str, traffic: Iterable[Traffic], at: float) -> None:
        """Take in ``traffic`` of ``proxy``, reported at the time ``at``; what it leaves out has had none."""
        account = self._accounts.setdefault(proxy, _ProxyTotals(at, {}))
        account.at = at
        for line in account.lines.values():
            line.last = None
        for each in traffic:
            where = (each.cluster[:_MAX_NAME], each.locality[:_MAX_NAME])
            if where not in account.lines and len(account.lines) >= _MAX_LINES:
                continue
            line = account.lines.setdefault(where, _LocalityTotals())
            line.requests += each.requests
            line.errors += each.errors
            line.busy_s += each.under_way * each.seconds
            line.last = each
            self._count(where[0], each)

    def gone(self, proxy: str) -> None:
        """Forget ``proxy``; what it has reported stays counted."""
        self._accounts.pop(proxy, None)

    def rows(self, proxy: str | None = None) -> tuple[LocalityLoad, ...]:
        """Return the traffic of all proxies together, or of one ``proxy``, sorted by cluster and locality."""
        accounts = self._accounts.values() if proxy is None else [found] if (found := self._accounts.get(proxy)) else []
        gathered: dict[tuple[str, str], list[_LocalityTotals]] = defaultdict(list)
        for account in accounts:
            for where, line in account.lines.items():
                gathered[where].append(line)
        return tuple(_load(where, gathered[where]) for where in sorted(gathered))

    def reported(self) -> Mapping[str, float]:
        """Return when each proxy has reported last."""
        return {proxy: account.at for proxy, account in self._accounts.items()}

    def _count(self, cluster: str, each: Traffic) -> None:
        if cluster not in self.totals and len(self.totals) >= MAX_CLUSTERS:
            cluster = OTHERS
        requests, errors = self.totals.get(cluster, (0, 0))
        self.totals[cluster] = (requests + each.requests, errors + each.errors)


def _load(where: tuple[str, str], lines: list[_LocalityTotals]) -> LocalityLoad:
    requests = sum(each.requests for each in lines)
    last = [each.last for each in lines if each.last and each.last.seconds > 0]
    return LocalityLoad(
        cluster=where[0],
        locality=where[1],
        proxies=len(lines),
        requests=requests,
        errors=sum(each.errors for each in lines),
        requests_per_s=sum(each.requests / each.seconds for each in last),
        errors_per_s=sum(each.errors / each.seconds for each in last),
        latency_ms=sum(each.busy_s for each in lines) / requests * 1000 if requests else None,
    )
