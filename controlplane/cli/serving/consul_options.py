"""The options of `navarch serve` about Consul."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

import typer

from controlplane.cli.serving.registry_options import RegistryOptions
from controlplane.settings import ConsulSettings

_CONSUL = RegistryOptions("consul")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")

Url: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="Serve the services of this Consul: http://127.0.0.1:8500 for the agent of this machine.")
]
TokenFile: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE", help="Has the token for Consul, which may read services, nodes and configuration entries.")
]
Roots: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="Believe the authorities of this PEM file, not the system's.")]
Certificate: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="The certificate that Consul is shown, as PEM.")]
PrivateKey: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="The key of that certificate, as PEM.")]
ServerName: TypeAlias = Annotated[
    str | None, typer.Option(metavar="DNS", help="The name that Consul's certificate says, if not that of the URL.")
]
Datacenter: TypeAlias = Annotated[
    str | None, typer.Option(metavar="DC", help="Serve this datacenter, by hosts NAME.service.DC.consul, not the agent's.")
]
Namespace: TypeAlias = Annotated[str, typer.Option(metavar="NS", help="The namespace of the mesh that Consul's services are in.")]
Domain: TypeAlias = Annotated[str, typer.Option(metavar="DNS", help="The domain of Consul's DNS: hosts are NAME.service.DOMAIN.")]
Tags: TypeAlias = Annotated[list[str] | None, typer.Option(metavar="TAG", help="Only services with this tag. Can be given several times.")]
Names: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PATTERN", help="Only services with a name like this, as web-*. Can be given several times.")
]
Port: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=1, max=65535, help="The port of services whose instances do not say it; else the one that most listen at."
    ),
]
Stale: TypeAlias = Annotated[bool, typer.Option(help="Let any server answer, not Consul's leader alone.")]


def settings(
    consul: tuple[str | None, str | None, str | None, int | None],
    tls: tuple[str | None, str | None, str | None, str | None],
    names: tuple[str, str],
    wanted: tuple[list[str] | None, list[str] | None],
    *,
    stale: bool,
) -> ConsulSettings | None:
    """Return the settings by URL, token, datacenter and port in ``consul``, ``tls``, namespace and domain, and the services ``wanted``."""
    url, token_file, datacenter, port = consul
    tags, patterns = wanted
    if url is None:
        if token_file or datacenter or port or any(tls) or tags or patterns or stale:
            raise typer.BadParameter("options that begin with --consul- go with --consul URL")
        return None
    if datacenter is not None and not _NAME.fullmatch(datacenter):
        raise typer.BadParameter(f"expected the name of a datacenter, found {datacenter[:80]!r}", param_hint=_CONSUL.option("datacenter"))
    namespace, domain = names
    _CONSUL.names(namespace, domain)
    checked = _CONSUL.url(url)
    return ConsulSettings(
        url=checked,
        tls=_CONSUL.tls(tls, (checked,)),
        token_file=_CONSUL.file(token_file, "token-file") if token_file else None,
        datacenter=datacenter,
        namespace=namespace,
        domain=domain,
        tags=tuple(dict.fromkeys(tags or ())),
        names=tuple(dict.fromkeys(patterns or ())),
        port=port,
        stale=stale,
    )
