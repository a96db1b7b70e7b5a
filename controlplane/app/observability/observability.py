"""Puts together what is observed of the control plane itself: durations for its metrics, and traces where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from controlplane.app.observability.change_traces import ChangeTrace, ChangeTraces
from controlplane.app.observability.history import ChangeHistory
from controlplane.app.observability.loop_lag import LoopLag
from controlplane.app.update_loop import UpdateLoop
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.settings import OwnTraceSettings

if TYPE_CHECKING:
    from controlplane.app.observability.otlp import ChangeSpans


class Observability:
    """What is observed of one control plane."""

    def __init__(self, traces: OwnTraceSettings | None, updates: UpdateLoop, subscribers: Subscribers) -> None:
        """Observe ``updates`` and what ``subscribers`` are pushed; trace changes as ``traces`` say, if anything."""
        self._traces = traces
        self._updates = updates
        self._subscribers = subscribers
        self._pushes = subscribers.pushes
        self._lag = LoopLag()
        self._spans: ChangeSpans | None = None
        self.history = ChangeHistory()
        self._updates.traces = self._pushes.observer = ChangeTraces(self._export, remember=self.history.add)

    async def run(self) -> None:
        """Observe until cancelled, and send then what is left of traces."""
        if self._traces is None:
            await self._lag.run()
            return
        from controlplane.app.observability.otlp import ChangeSpans  # the SDK takes 70 ms to import

        self._spans = ChangeSpans(self._traces)
        try:
            await self._lag.run()
        finally:
            await self._spans.close()

    def _export(self, trace: ChangeTrace) -> None:
        if self._spans:
            self._spans.export(trace)

    def metrics(self) -> Iterator[Metric | None]:
        """Yield how long things take and what there is to do; ``None`` in between, where others may have a turn."""
        for histogram in (self._pushes.seconds, self._updates.refresh_seconds, self._lag.seconds):
            yield from histogram.collect()
        open_names = 0
        for stream in self._subscribers.streams():
            open_names += stream.open_names
            yield None
        description = "Names of resources that streams have yet to look at, and perhaps to send."
        yield GaugeMetricFamily("navarch_open_names", description, value=open_names)
