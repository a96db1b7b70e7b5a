"""Keeps web pages that people happen to have open away from the admin API (DNS rebinding, cross-site requests), and large bodies out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from controlplane.admin.http_server import Asgi, Receive, Scope, Send, refuse

MAX_BODY_BYTES = 1 << 20
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/\s]+))(?::[0-9]{1,5})?")


class HostCheck:
    """An application that lets only safe requests through to another."""

    def __init__(self, app: Asgi, names: Iterable[str]) -> None:
        """Guard ``app``, which may be called by ``names`` and by those of the loopback interface."""
        self._app = app
        self._names = frozenset(("localhost", *(name.lower() for name in names)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        headers = _headers(scope)
        refusal = self._refusal(headers)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await refuse(send, *refusal)

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_served(host):
            return 421, "this host name is not served here; see --admin-host"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "requests of other sites are not answered"
        size = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not size.isdecimal() or int(size[:20]) > MAX_BODY_BYTES:
            return 413, "no request here needs a body like this"
        return None

    def _is_served(self, host: str) -> bool:
        name = _name(host).lower()
        if name in self._names:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    raw = scope.get("headers")
    for name, value in raw if isinstance(raw, list) else ():
        # Of a name that comes twice neither is to be trusted.
        headers[name.decode("latin-1").lower()] = "" if name.decode("latin-1").lower() in headers else value.decode("latin-1")
    return headers


def _name(host: str) -> str:
    """Return the name or address in ``host``, the value of a Host header; empty where it is none."""
    found = _HOST.fullmatch(host)
    return (found["v6"] or found["name"]) if found else ""
