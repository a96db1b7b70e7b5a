"""Puts together what is observed of the control plane itself: durations for its metrics, and traces where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from controlplane.app.observability.change_traces import ChangeTraces
from controlplane.app.observability.loop_lag import LoopLag
from controlplane.app.update_loop import UpdateLoop
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.settings import TraceSettings


class Observability:
    """What is observed of one control plane."""

    def __init__(self, traces: TraceSettings | None, updates: UpdateLoop, subscribers: Subscribers) -> None:
        """Observe ``updates`` and what ``subscribers`` are pushed; trace changes as ``traces`` say, if anything."""
        self._traces = traces
        self._updates = updates
        self._pushes = subscribers.pushes
        self._lag = LoopLag()

    async def run(self) -> None:
        """Observe until cancelled, and send then what is left of traces."""
        if self._traces is None:
            await self._lag.run()
            return
        from controlplane.app.observability.otlp import ChangeSpans  # the SDK takes 70 ms to import

        spans = ChangeSpans(self._traces)
        self._updates.traces = self._pushes.observer = ChangeTraces(spans.export)
        try:
            await self._lag.run()
        finally:
            await spans.close()

    def durations(self) -> Iterator[Metric]:
        """Yield how long things take."""
        for histogram in (self._pushes.seconds, self._updates.refresh_seconds, self._lag.seconds):
            yield from histogram.collect()
