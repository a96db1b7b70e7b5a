"""``navarch log``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, Namespace, ProxyName, asks_admin
from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.output import Form, Listing, OutputOption, show
from controlplane.cli.operator.proxies.envoy_admin import envoy_admin


class EnvoyLevel(StrEnum):
    """From which level on an Envoy logs."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    OFF = "off"


_Level = Annotated[EnvoyLevel | None, typer.Option("--level", help="Log from this level on, until its Envoy is told otherwise.")]
_Logger = Annotated[str | None, typer.Option("--logger", metavar="NAME", help="This logger alone, as http, rbac or upstream.")]
_Envoy = Annotated[
    str | None, typer.Option("--envoy", metavar="HOST:PORT", help="The admin address of its Envoy. In a cluster it is found by the pod.")
]


@asks_admin
def log(
    target: AdminTarget,
    proxy: ProxyName,
    level: _Level = None,
    logger: _Logger = None,
    envoy: _Envoy = None,
    namespace: Namespace = None,
    output: OutputOption = Form.TABLE,
) -> None:
    """Show from which level on a proxy logs, or have it log from another one on; the control plane itself is not changed.

    For example:

      navarch log client.default --envoy 127.0.0.1:15000

      navarch log client.default --level debug --logger rbac --context production
    """
    _, proxy_id = target.proxy(proxy, namespace)
    admin = envoy_admin(target, proxy_id, envoy)
    if admin is None:
        raise CommandFailed("where its Envoy can be asked is not known: --envoy HOST:PORT says it")
    query = f"?{logger or 'level'}={level.value}" if level else ""
    levels = _levels(admin.post(f"/logging{query}"))
    shown = {name: found for name, found in levels.items() if logger in {None, name}}
    show(output, shown, Listing(head=("LOGGER", "LEVEL"), rows=list(shown.items()), nothing="its Envoy names no loggers"))


def _levels(answer: str) -> dict[str, str]:
    """Return the level of each logger in ``answer``, as an Envoy lists them."""
    pairs = (line.strip().partition(": ") for line in answer.splitlines()[1:])
    return {name: level for name, colon, level in pairs if colon}
