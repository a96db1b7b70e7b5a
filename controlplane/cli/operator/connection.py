"""The control planes that a command asks, and the options that say which: the same for all commands."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from typing import Annotated, Concatenate, ParamSpec, TypeAlias, get_type_hints
from urllib.parse import urlsplit

import typer

from controlplane.cli.operator.client import AdminClient, part
from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.names import named_proxy
from controlplane.untyped import Json, text

DEFAULT_ADMIN = "http://127.0.0.1:15014"
P = ParamSpec("P")

_Admin: TypeAlias = Annotated[
    str | None,
    typer.Option("--admin", metavar="URL", envvar="NAVARCH_ADMIN", help=f"The admin API of a control plane. Default: {DEFAULT_ADMIN}."),
]
_Kubeconfig: TypeAlias = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Ask the control planes of this cluster, by port-forwards to them."),
]
_Context: TypeAlias = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="The context of the kubeconfig: ask the control planes of that cluster.")
]
_SystemNamespace: TypeAlias = Annotated[
    str, typer.Option("--system-namespace", metavar="NAME", help="The namespace in which the control planes of a cluster run.")
]


@dataclass(frozen=True)
class AdminTarget:
    """Which control planes are asked: one by its URL, or those of a cluster."""

    admin: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    system_namespace: str = "navarch-system"

    @cached_property
    def clients(self) -> tuple[AdminClient, ...]:
        """Return a client of each control plane, one at least; raises CommandFailed."""
        if self.admin and (self.kubeconfig or self.context):
            raise CommandFailed("expected either --admin, or --kubeconfig and --context")
        if not self.in_cluster:
            return (url_client(self.admin or DEFAULT_ADMIN),)
        from controlplane.cli.operator.port_forward import pod_clients

        return pod_clients(self.kubeconfig, self.context, self.system_namespace)

    @property
    def in_cluster(self) -> bool:
        """Return whether the control planes are found by their pods."""
        return bool(self.kubeconfig or self.context)

    @property
    def client(self) -> AdminClient:
        """Return a client of whichever control plane: all of a mesh know the same objects."""
        return self.clients[0]

    def proxies(self) -> Iterator[tuple[AdminClient, Json]]:
        """Yield the rows of all proxies that are connected, each with who has its stream."""
        for client in self.clients:
            for row in client.rows("/v1/proxies"):
                yield client, row

    def proxy(self, name: str, namespace: str | None = None) -> tuple[AdminClient, str]:
        """Return the id of the proxy that ``name`` means, and who has its stream; raises CommandFailed."""
        for client in self.clients:
            if "~" in name and client.find(f"/v1/proxies/{part(name)}") is not None:
                return client, name
        by_id = {text(row, "id"): client for client, row in self.proxies()}
        found = named_proxy(name, by_id, namespace)
        return by_id[found], found


def url_client(url: str) -> AdminClient:
    """Return a client of the admin API at ``url``; raises CommandFailed if that is none."""
    split = urlsplit(url if "://" in url else f"http://{url}")
    try:
        host, port = split.hostname, split.port
    except ValueError:
        host, port = None, None
    if split.scheme not in {"http", "https"} or not host or split.query or split.fragment or split.username is not None:
        raise CommandFailed(f"--admin: expected a URL as {DEFAULT_ADMIN}, found {url[:200]!r}")

    def connect(timeout_s: float) -> HTTPConnection:
        return (HTTPSConnection if split.scheme == "https" else HTTPConnection)(host, port, timeout=timeout_s)

    return AdminClient(f"{split.scheme}://{split.netloc}", connect, split.path.rstrip("/"))


def asks_admin(command: Callable[Concatenate[AdminTarget, P], None]) -> Callable[P, None]:
    """Return ``command`` with the options that say which control planes it asks, in the place of its first parameter."""

    @functools.wraps(command)
    def with_options(*arguments: P.args, **options: P.kwargs) -> None:
        values = {name: options.pop(name, None) for name in _OPTIONS}
        command(AdminTarget(**{name: value for name, value in values.items() if isinstance(value, str)}), *arguments, **options)

    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=getattr(AdminTarget, name))
        for name, annotation in _OPTIONS.items()
    ]
    hints = {name: hint for name, hint in get_type_hints(command, include_extras=True).items() if name in {each.name for each in own}}
    with_options.__annotations__ = {**hints, **_OPTIONS, "return": None}
    typed = [each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    vars(with_options)["__signature__"] = inspect.Signature([*typed, *shared])
    del vars(with_options)["__wrapped__"]  # else its signature would be looked at
    return with_options


def complete_proxy(incomplete: str) -> list[str]:
    """Return the short names of the proxies that begin with ``incomplete``, for a shell; none where nobody answers at once."""
    from controlplane.cli.operator.names import short_name

    try:
        rows = url_client(os.environ.get("NAVARCH_ADMIN") or DEFAULT_ADMIN).rows("/v1/proxies")
    except CommandFailed:
        return []
    return [name for row in rows if (name := short_name(text(row, "id"))).startswith(incomplete)]


_OPTIONS: dict[str, object] = {"admin": _Admin, "kubeconfig": _Kubeconfig, "context": _Context, "system_namespace": _SystemNamespace}
ProxyName: TypeAlias = Annotated[
    str, typer.Argument(metavar="PROXY", help="Its pod, as client.default, or its node id.", autocompletion=complete_proxy)
]
Namespace: TypeAlias = Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Of this namespace alone.")]
