"""Reaches the admin address of a proxy's Envoy: by its address, or in a cluster by a port-forward to its pod."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

from controlplane.cli.operator.connection import AdminTarget
from controlplane.cli.operator.failures import UNREACHABLE, CommandFailed
from controlplane.cli.operator.names import short_name
from controlplane.cli.options import address

ADMIN_PORT = 15000  # of every sidecar and gateway that is injected, and of bootstraps that do not say another
_MAX_BYTES = 512 << 20
_TIMEOUT_S = 30.0


class EnvoyAdmin(NamedTuple):
    """The admin address of one Envoy."""

    name: str
    connect: Callable[[float], HTTPConnection]

    def get(self, path: str) -> str:
        """Return what the Envoy answers to a GET of ``path``; raises CommandFailed."""
        return self._ask("GET", path)

    def post(self, path: str) -> str:
        """Return what the Envoy answers to a POST of ``path``; raises CommandFailed."""
        return self._ask("POST", path)

    def _ask(self, method: str, path: str) -> str:
        try:
            connection = self.connect(_TIMEOUT_S)
            connection.request(method, path, headers={"connection": "close"})
            answer = connection.getresponse()
            body = answer.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError as error:
            words = f"the admin address of the Envoy, {self.name}, cannot be reached: {error.strerror or error}"
            raise CommandFailed(words, UNREACHABLE) from None
        except HTTPException as error:
            raise CommandFailed(f"{self.name} does not speak HTTP: {error or type(error).__name__}", UNREACHABLE) from None
        if answer.status != 200:
            raise CommandFailed(f"the Envoy at {self.name} answers {path} with status {answer.status}: {body[:300].strip()}")
        return body


def envoy_admin(target: AdminTarget, proxy_id: str, given: str | None) -> EnvoyAdmin | None:
    """Return the admin address of the Envoy of ``proxy_id``: what was ``given``, or in a cluster its pod's; ``None``: nobody knows."""
    if given is not None:
        host, _, port = address(given.removeprefix("http://").rstrip("/"), option="--envoy").rpartition(":")
        return EnvoyAdmin(given, lambda timeout_s: HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s))
    if not target.in_cluster:
        return None
    from controlplane.cli.operator.port_forward import core_api, forwarded

    api = core_api(target.kubeconfig, target.context)
    pod, _, namespace = short_name(proxy_id).rpartition(".")
    return EnvoyAdmin(f"pod {pod}", lambda timeout_s: forwarded(api, pod, namespace, ADMIN_PORT, timeout_s))
