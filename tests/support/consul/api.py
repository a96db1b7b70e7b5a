"""Registering in a Consul, the real one or the double, by its HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx

from tests.support.waiting import DEADLINE_S, until


class ConsulApi:
    """What tests ask of the Consul at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(timeout=DEADLINE_S)

    async def register(
        self,
        name: str,
        address: str,
        port: int,
        *,
        identifier: str = "",
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        weights: tuple[int, int] = (1, 1),
    ) -> str:
        """Register an instance with a check by TTL, which passes, and return its id."""
        known = identifier or f"{name}-{address}-{port}"
        await self.put(
            "/v1/agent/service/register",
            {
                "ID": known,
                "Name": name,
                "Address": address,
                "Port": port,
                "Tags": list(tags),
                "Meta": dict(meta or {}),
                "Weights": {"Passing": weights[0], "Warning": weights[1]},
                "Check": {"TTL": "1h", "Status": "passing"},
            },
        )
        return known

    async def deregister(self, identifier: str) -> None:
        """Take the instance ``identifier`` out."""
        await self.put(f"/v1/agent/service/deregister/{identifier}")

    async def check(self, identifier: str, what: str) -> None:
        """Have the check of the instance ``identifier`` ``pass``, ``warn`` or ``fail``."""
        await self.put(f"/v1/agent/check/{what}/service:{identifier}")

    async def maintain(self, identifier: str, *, enable: bool) -> None:
        """Put the instance ``identifier`` into maintenance, or out of it."""
        await self.put(f"/v1/agent/service/maintenance/{identifier}?enable={str(enable).lower()}")

    async def protocol(self, name: str, protocol: str) -> None:
        """Have the service ``name`` speak ``protocol``, by a configuration entry."""
        await self.put("/v1/config", {"Kind": "service-defaults", "Name": name, "Protocol": protocol})

    async def everywhere(self, protocol: str) -> None:
        """Have all services speak ``protocol`` that do not say another, by a configuration entry."""
        await self.put("/v1/config", {"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": protocol}})

    async def put(self, path: str, body: Mapping[str, object] | None = None) -> None:
        """PUT ``body`` at ``path``."""
        answer = await self._client.put(self.url + path, json=body)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)

    async def led(self) -> None:
        """Wait until there is a leader."""

        async def holds() -> bool:
            try:
                return len((await self._client.get(f"{self.url}/v1/status/leader")).json() or "") > 0
            except (httpx.HTTPError, ValueError):
                return False

        await until(holds, "a leader of Consul")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
