"""The report of a run: what is written as JSON, and what all other forms of it are made from."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

VERSION = 1


class DrillVerdict(StrEnum):
    """What a run found, and the exit status by which commands say so."""

    HELD = "HELD"
    DEVIATED = "DEVIATED"
    NOT_RUN = "NOT RUN"
    ABORTED = "ABORTED"

    @property
    def exit_status(self) -> int:
        """Return the status of a command."""
        return {DrillVerdict.HELD: 0, DrillVerdict.DEVIATED: 1, DrillVerdict.NOT_RUN: 2, DrillVerdict.ABORTED: 3}[self]


class ReportPart(BaseModel):
    """JSON in lowerCamelCase. Times are seconds since the run began, durations of requests milliseconds, shares percent."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="null")


class PhaseFigures(ReportPart):
    """What was counted of an edge in one phase."""

    seconds: float
    requests: int
    failures: int
    rate: float
    success: float | None
    success_low: float  # of the interval in which the share lies in 95 of 100 cases
    success_high: float
    p50: float | None
    p95: float | None
    p99: float | None
    attempts: int  # of the caller's proxy, retries among them
    retries: int
    hidden: int  # requests that a retry has saved
    retries_exhausted: int
    retry_overflows: int
    timeouts: int
    overflows: int
    connect_failures: int
    resets: int
    ejections: int


class BreakerEvent(ReportPart):
    """What outlier detection did."""

    at: float
    state: str
    ejected: int
    ejections: int


class EdgePoint(ReportPart):
    """What was counted of an edge since the sample before."""

    requests: int
    failures: int
    rate: float
    success: float | None
    p50: float | None
    p99: float | None
    retries: int
    ejected: int


class ReportSample(ReportPart):
    """One look at the proxies: what each edge had since the last one, and how many proxies answered."""

    at: float
    edges: tuple[EdgePoint, ...]
    read: int
    silent: int


class EdgeReport(ReportPart):
    """What was counted of an edge."""

    name: str
    host: str
    callers: int  # proxies
    before: PhaseFigures
    during: PhaseFigures
    after: PhaseFigures
    whole: PhaseFigures
    breaker: tuple[BreakerEvent, ...]


class FaultReport(ReportPart):
    """One fault, and when it was what."""

    name: str
    sort: str
    service: str
    side: str
    percentage: float
    of_requests: bool  # single requests are hit, not connections or whole instances
    in_force_at: float | None
    lifted_at: float | None
    gone_at: float | None


class ObjectiveReport(ReportPart):
    """One objective of the steady state: what was wanted, and what was found while the faults were in force."""

    edge: str
    figure: str
    wanted: float
    found: float | None
    held: bool
    unsure: bool


class Report(ReportPart):
    """What a run found."""

    version: int = VERSION
    id: str
    drill: str
    verdict: DrillVerdict
    reason: str
    started_at: float  # seconds since the epoch
    seconds: float
    interval: float
    seed: int
    faults: tuple[FaultReport, ...]
    objectives: tuple[ObjectiveReport, ...]
    detected_after: float | None  # seconds from the last proxy's ACK of the fault to the first breach; None: there was none
    recovered_after: (
        float | None
    )  # seconds from the last proxy's ACK of the removal until it was steady; None: it was not, or none was there
    recovery_precision: float  # seconds by which that may be off
    edges: tuple[EdgeReport, ...]
    conclusions: tuple[str, ...]
    warnings: tuple[str, ...]
    changes: tuple[str, ...] = ()  # since the last run of the same drill
    samples: tuple[ReportSample, ...]

    def json_text(self) -> str:
        """Return it as JSON."""
        return self.model_dump_json(by_alias=True, indent=2)
