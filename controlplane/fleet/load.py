"""What proxies say of their traffic: folded by cluster and locality, and forgotten with the proxy.

Envoy reports what was asked, what failed and what is under way, but no times. How long a request takes follows from the mean number that is
under way and from how many there are a second (Little's law): an estimate, good over many reports.
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/endpoint/v3/load_report.proto
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_CLUSTERS = 1000  # that are counted by name, and localities of one proxy that are kept: names are bounded in number
OTHERS = "others"
_MAX_LOCALITIES = 20_000
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
    localities: dict[tuple[str, str], _LocalityTotals]


class LoadTotals:
    """The traffic of all proxies that report."""

    def __init__(self) -> None:
        """Begin with no reports."""
        self._proxies: dict[str, _ProxyTotals] = {}
        self.totals: dict[str, tuple[int, int]] = {}  # requests and errors by cluster, of all proxies there ever were

    def report(self, proxy: str, traffic: Iterable[Traffic], at: float) -> None:
        """Take in ``traffic`` of ``proxy``, reported at the time ``at``; what it leaves out has had none."""
        totals = self._proxies.setdefault(proxy, _ProxyTotals(at, {}))
        totals.at = at
        for locality_totals in totals.localities.values():
            locality_totals.last = None
        for report in traffic:
            destination = (report.cluster[:_MAX_NAME], report.locality[:_MAX_NAME])
            if destination not in totals.localities and len(totals.localities) >= _MAX_LOCALITIES:
                continue
            locality_totals = totals.localities.setdefault(destination, _LocalityTotals())
            locality_totals.requests += report.requests
            locality_totals.errors += report.errors
            locality_totals.busy_s += report.under_way * report.seconds
            locality_totals.last = report
            self._add_to_totals(destination[0], report)

    def gone(self, proxy: str) -> None:
        """Forget ``proxy``; what it has reported stays counted."""
        self._proxies.pop(proxy, None)

    def rows(self, proxy: str | None = None) -> tuple[LocalityLoad, ...]:
        """Return the traffic of all proxies together, or of one ``proxy``, sorted by cluster and locality."""
        reporting = self._proxies.values() if proxy is None else [one] if (one := self._proxies.get(proxy)) else []
        by_locality: dict[tuple[str, str], list[_LocalityTotals]] = defaultdict(list)
        for totals in reporting:
            for destination, locality_totals in totals.localities.items():
                by_locality[destination].append(locality_totals)
        return tuple(_load(destination, by_locality[destination]) for destination in sorted(by_locality))

    def reported(self) -> Mapping[str, float]:
        """Return when each proxy has reported last."""
        return {proxy: totals.at for proxy, totals in self._proxies.items()}

    def _add_to_totals(self, cluster: str, report: Traffic) -> None:
        if cluster not in self.totals and len(self.totals) >= MAX_CLUSTERS:
            cluster = OTHERS
        requests, errors = self.totals.get(cluster, (0, 0))
        self.totals[cluster] = (requests + report.requests, errors + report.errors)


def _load(destination: tuple[str, str], totals: list[_LocalityTotals]) -> LocalityLoad:
    requests = sum(locality.requests for locality in totals)
    last = [locality.last for locality in totals if locality.last and locality.last.seconds > 0]
    return LocalityLoad(
        cluster=destination[0],
        locality=destination[1],
        proxies=len(totals),
        requests=requests,
        errors=sum(locality.errors for locality in totals),
        requests_per_s=sum(report.requests / report.seconds for report in last),
        errors_per_s=sum(report.errors / report.seconds for report in last),
        latency_ms=sum(locality.busy_s for locality in totals) / requests * 1000 if requests else None,
    )
