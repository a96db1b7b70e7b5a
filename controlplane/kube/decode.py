"""Bytes from the API server as JSON; what is none counts as an API server that cannot be reached."""

from __future__ import annotations

import orjson

from controlplane.kube.errors import ApiServerUnreachable
from controlplane.untyped import Json


def decode_object(data: bytes) -> Json:
    """Return the JSON object ``data``; raises ApiServerUnreachable for what is none, as a line that was cut in the middle."""
    try:
        decoded = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ApiServerUnreachable(f"expected JSON from the API server: {error}") from error
    if not isinstance(decoded, dict):
        raise ApiServerUnreachable("expected a JSON object from the API server")
    return decoded
