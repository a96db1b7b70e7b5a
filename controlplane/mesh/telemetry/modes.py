"""The modes of Telemetries: on which side of requests an entry holds."""

from __future__ import annotations

from controlplane.ir.telemetry.listeners import Side
from controlplane.objects.extensions.telemetry import ModeSelector


def holds_for(selector: ModeSelector | None, side: Side) -> bool:
    """Return whether an entry with ``selector`` holds on ``side``: where it has none, on both."""
    return selector is None or selector.mode in ("CLIENT_AND_SERVER", side.name)
