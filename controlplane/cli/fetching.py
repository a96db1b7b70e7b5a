"""The options of what is fetched on behalf of users: keys of token issuers, and modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.options import address

if TYPE_CHECKING:
    from controlplane.settings import ModuleSettings

_WHERE = "a CIDR, an IP address, a host or *.SUFFIX; after http:// without TLS. Public addresses are asked by HTTPS anyway. "
_SEVERAL = "Can be given several times."
JwksAllow: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="WHERE", help=f"Fetch keys of token issuers here too: {_WHERE}{_SEVERAL}")
]
JwksRoots: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE", help="Believe the authorities of this PEM file, too, when keys are fetched.")
]
JwksRefresh: TypeAlias = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, max=86_400, help="How often keys of token issuers are fetched anew.")
]
WasmAllow: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="WHERE", help=f"Fetch modules of plugins here too: {_WHERE}{_SEVERAL}")
]
WasmRoots: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE", help="Believe the authorities of this PEM file, too, when modules are fetched.")
]
WasmServe: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--modules",
        metavar="HOST:PORT",
        help="Serve modules of more than 4 MB here, by HTTPS, to proxies that have an identity: they do not go with the configuration.",
    ),
]
WasmReached: TypeAlias = Annotated[
    str | None, typer.Option("--modules-at", metavar="HOST:PORT", help="Where proxies reach what --modules serves, if that is elsewhere.")
]


def module_settings(
    allow: list[str] | None, roots: str | None, serve: str | None, reached: str | None, *, identified: bool
) -> ModuleSettings:
    """Return how modules are fetched and served; ``identified``: proxies have identities."""
    from controlplane.settings import ModuleSettings

    if (serve and not identified) or (reached and not serve):
        raise typer.BadParameter("--modules-at goes with --modules, and that with --xds-tls or --xds-mtls")
    return ModuleSettings(
        allow=allowed(allow, "--wasm-allow"),
        roots=roots,
        address=address(serve, option="--modules") if serve else None,
        reached_at=address(reached, option="--modules-at") if reached else "",
    )


def allowed(destinations: list[str] | None, option: str) -> tuple[str, ...]:
    """Return ``destinations``, which ``option`` was given, if each is one that can be allowed."""
    from controlplane.sources.fetched.url_policy import parse_allowed

    for destination in destinations or ():
        try:
            parse_allowed(destination)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=option) from None
    return tuple(dict.fromkeys(destinations or ()))
