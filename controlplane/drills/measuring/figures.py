"""What was counted, as figures that people read."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.drills.measuring.exposition import Counts
from controlplane.drills.measuring.statistics import Interval, percentile, wilson

FAILED = "5xx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of the requests of one edge in some ``seconds``: those that ended, and what it took to answer them. Times are milliseconds."""

    seconds: float
    requests: int
    failures: int
    success: Interval  # with how sure the share is
    p50: float | None
    p95: float | None
    p99: float | None
    attempts: int
    retries: int
    hidden: int  # requests that a retry has saved
    retries_exhausted: int
    retry_overflows: int
    timeouts: int
    overflows: int  # of requests and connections that a circuit breaker has not let through
    connect_failures: int
    resets: int
    ejections: int

    @property
    def success_percent(self) -> float | None:
        """Return the share of requests that were not answered 5xx; ``None`` without requests."""
        return 100 * (self.requests - self.failures) / self.requests if self.requests else None

    @property
    def rate(self) -> float:
        """Return the requests per second."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0


def figures(counts: Counts, seconds: float) -> Figures:
    """Return the figures of ``counts``, which were made in ``seconds``."""
    value = counts.values.get
    requests, failures = value("completed", 0), value(FAILED, 0)
    return Figures(
        seconds=seconds,
        requests=requests,
        failures=failures,
        success=wilson(requests - failures, requests),
        p50=percentile(counts.buckets, 50),
        p95=percentile(counts.buckets, 95),
        p99=percentile(counts.buckets, 99),
        attempts=value("attempts", 0),
        retries=value("retries", 0),
        hidden=value("retry_successes", 0),
        retries_exhausted=value("retries_exhausted", 0),
        retry_overflows=value("retry_overflows", 0),
        timeouts=value("timeouts", 0) + value("try_timeouts", 0),
        overflows=value("overflows", 0) + value("connection_overflows", 0),
        connect_failures=value("connect_failures", 0),
        resets=value("resets", 0),
        ejections=value("ejections", 0),
    )
