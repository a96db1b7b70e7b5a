"""The identity that the Envoy of a pod shows."""

from __future__ import annotations

from controlplane.untyped import Json, text


def identity(headers: Json) -> str:
    """Return who the last proxy says that the caller is."""
    return next((part[4:] for part in text(headers, "x-forwarded-client-cert").split(";") if part.startswith("URI=")), "")
