"""AuthorizationPolicies of tests, and what comes of requests."""

from __future__ import annotations

import json
from collections.abc import Mapping

ALLOWED, DENIED, CLOSED = 200, 403, 0
Json = Mapping[str, object]


def policy(name: str, *rules: Json, action: str = "ALLOW", namespace: str = "shop", **more: object) -> str:
    """Return an AuthorizationPolicy as JSON, which is YAML."""
    spec = {"action": action, "rules": list(rules), **more}
    metadata = {"name": name, "namespace": namespace}
    return json.dumps({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec})


def by(**source: object) -> Json:
    return {"from": [{"source": source}]}


def to(**operation: object) -> Json:
    return {"to": [{"operation": operation}]}


def when(key: str, *values: str, **more: object) -> Json:
    return {"when": [{"key": key, **({"values": list(values)} if values else {}), **more}]}
