"""The options of `navarch serve` about etcd."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from controlplane.cli.serving.registry_options import RegistryOptions
from controlplane.settings import EtcdSettings

_ETCD = RegistryOptions("etcd")

Urls: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL", help="Serve services that are registered in this etcd. Can be given several times: members of one cluster."
    ),
]
Prefix: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PREFIX", help="Where they are: keys are PREFIX/SERVICE/INSTANCE, as /services/web/10.0.0.1:8080.")
]
User: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="The user of etcd that may read there.")]
PasswordFile: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="Has the password of that user.")]
Roots: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="Believe the authorities of this PEM file, not the system's.")]
Certificate: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="The certificate that etcd is shown, as PEM.")]
PrivateKey: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="The key of that certificate, as PEM.")]
ServerName: TypeAlias = Annotated[
    str | None, typer.Option(metavar="DNS", help="The name that etcd's certificate says, if not that of the URL.")
]
Namespace: TypeAlias = Annotated[str, typer.Option(metavar="NS", help="The namespace of the mesh that etcd's services are in.")]
Domain: TypeAlias = Annotated[str, typer.Option(metavar="DNS", help="Hosts are SERVICE.DOMAIN.")]
Port: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=1, max=65535, help="The port of services whose instances do not say it; else the one that most listen at."
    ),
]


def settings(
    urls: list[str] | None,
    where: tuple[str | None, int | None],
    tls: tuple[str | None, str | None, str | None, str | None],
    login: tuple[str | None, str | None],
    names: tuple[str, str],
) -> EtcdSettings | None:
    """Return the settings by ``urls``, prefix and port, ``tls``, user and password, namespace and domain."""
    (prefix, port), (user, password_file) = where, login
    if not urls:
        if prefix or port or any(tls) or any(login):
            raise typer.BadParameter("options that begin with --etcd- go with --etcd URL")
        return None
    if not prefix or not prefix.strip("/") or len(prefix) > 1024:
        raise typer.BadParameter("expected where services are, as /services", param_hint=_ETCD.option("prefix"))
    if (user is None) != (password_file is None):
        raise typer.BadParameter(f"{_ETCD.option('user')} and {_ETCD.option('password-file')} go together")
    namespace, domain = names
    _ETCD.names(namespace, domain)
    checked = tuple(dict.fromkeys(map(_ETCD.url, urls)))
    return EtcdSettings(
        urls=checked,
        prefix=prefix.rstrip("/"),
        tls=_ETCD.tls(tls, checked),
        user=user,
        password_file=_ETCD.file(password_file, "password-file") if password_file else None,
        namespace=namespace,
        domain=domain,
        port=port,
    )
