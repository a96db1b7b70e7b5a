"""What the options of all registries have in common: URLs, TLS, names."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import typer

from controlplane.settings import RegistryTls

SyncTimeout: TypeAlias = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=1, max=3600, help="Proxies are answered without a Consul or etcd that has not been read by then."),
]


class RegistryOptions(NamedTuple):
    """A registry, by the word that its options begin with."""

    word: str

    def option(self, name: str) -> str:
        """Return the option ``name`` of it."""
        return f"--{self.word}-{name}"

    def url(self, value: str) -> str:
        """Return the URL ``value``, if one can be asked there."""
        try:
            url = urlsplit(value)
            good = url.scheme in ("http", "https") and url.hostname and (url.port or 1) and url.path in ("", "/")
        except ValueError:
            good = False
        if not good or url.query or url.fragment or url.username is not None:
            raise typer.BadParameter(f"expected http://HOST:PORT or https://HOST:PORT, found {value[:200]!r}", param_hint=f"--{self.word}")
        return value.rstrip("/")

    def tls(self, files: tuple[str | None, str | None, str | None, str | None], urls: tuple[str, ...]) -> RegistryTls:
        """Return the TLS by roots, certificate, key and server name in ``files``, with which ``urls`` are asked."""
        from controlplane.sources.registry.http import tls_context

        roots, certificate, key, server_name = files
        if any(files) and not all(url.startswith("https:") for url in urls):
            raise typer.BadParameter("expected an https:// URL where TLS is configured", param_hint=f"--{self.word}")
        if (certificate is None) != (key is None):
            raise typer.BadParameter(f"{self.option('cert')} and {self.option('key')} go together")
        tls = RegistryTls(roots=roots, certificate=certificate, key=key, server_name=server_name)
        for option, path in (("ca", roots), ("cert", certificate), ("key", key)):
            if path is not None:
                self.file(path, option)
        try:
            tls_context(tls)
        except (OSError, ssl.SSLError) as error:
            raise typer.BadParameter(f"its files are not as they should be: {error}", param_hint=self.option("ca")) from None
        return tls

    def file(self, path: str, option: str) -> str:
        """Return ``path``, which ``option`` was given, if it can be read."""
        try:
            with Path(path).open("rb"):
                return path
        except OSError as error:
            raise typer.BadParameter(
                f"expected a file that can be read, found {path!r}: {error.strerror}", param_hint=self.option(option)
            ) from None

    def names(self, namespace: str, domain: str) -> None:
        """Check the ``namespace`` of its services, and the ``domain`` of their hosts."""
        from controlplane.objects.types.names import is_fqdn, is_label

        if not is_label(namespace) or namespace != namespace.lower():
            raise typer.BadParameter(f"expected the name of a namespace, found {namespace[:80]!r}", param_hint=self.option("namespace"))
        if not is_fqdn(domain) or domain != domain.lower() or domain.endswith("."):
            raise typer.BadParameter(f"expected a DNS name in lower case, found {domain[:80]!r}", param_hint=self.option("domain"))
