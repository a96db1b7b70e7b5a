"""Tokens of users, rules that believe their issuers, and what requests with them get."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.support.fakes.issuer import Issuer
from tests.support.policy_world import PolicyWorld
from tests.support.waiting import until

ISSUER = Issuer("https://issuer.example")
Json = Mapping[str, object]


def believing(*rules: Json, name: str = "issuers", namespace: str = "shop") -> str:
    """Return a RequestAuthentication as JSON, which is YAML."""
    metadata = {"name": name, "namespace": namespace}
    spec = {"jwtRules": list(rules)}
    return json.dumps({"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": metadata, "spec": spec})


def rule(issuer: Issuer = ISSUER, /, **more: object) -> Json:
    given = {"issuer": issuer.name, **more}
    return given if "jwksUri" in given else {**given, "jwks": issuer.jwks}


def bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status(world: PolicyWorld, token: str | None, path: str = "/", **headers: str) -> int:
    shown = bearer(token) if token is not None else {}
    return (await world.ask(path, headers={**shown, **headers})).status


async def until_status(world: PolicyWorld, wanted: int, token: str) -> None:
    async def holds() -> bool:
        return await status(world, token) == wanted

    await until(holds, f"the token gets {wanted}")
