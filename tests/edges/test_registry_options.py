"""The options about registries: what cannot be meant is refused, and it is said what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from controlplane.cli.serving import consul_options, etcd_options
from controlplane.settings import ConsulSettings, EtcdSettings, RegistryTls
from tests.support.certificates import write_files

URL = "http://127.0.0.1:8500"
NO_TLS = (None, None, None, None)


def consul(url: str | None = URL, *, tls: tuple[str | None, ...] = NO_TLS, domain: str = "consul", **told: str) -> ConsulSettings | None:
    first, second, third, fourth = tls
    asked = (url, told.get("token"), told.get("datacenter"), None)
    wanted = (None, ["web-*"] if url else None)
    return consul_options.settings(asked, (first, second, third, fourth), ("consul", domain), wanted, stale=False)


def etcd(
    *urls: str, prefix: str | None = "/services/", login: tuple[str | None, str | None] = (None, None), namespace: str = "etcd"
) -> EtcdSettings | None:
    return etcd_options.settings(list(urls), (prefix, None), NO_TLS, login, (namespace, "etcd"))


def test_what_is_told_is_what_is_set(tmp_path: Path) -> None:
    write_files(tmp_path, "localhost")
    files = tuple(str(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key"))

    secured = consul("https://consul:8501/", token=files[0], datacenter="dc2", tls=(*files, "consul.dc2"))

    tls = RegistryTls(roots=files[0], certificate=files[1], key=files[2], server_name="consul.dc2")
    assert secured == ConsulSettings(url="https://consul:8501", tls=tls, token_file=files[0], datacenter="dc2", names=("web-*",))
    assert etcd(URL, URL) == EtcdSettings(urls=(URL,), prefix="/services")
    assert consul(None) is None
    assert etcd(prefix=None) is None


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8500", "ftp://a", "http://", "http://a:b@c", "http://a/v1", "http://a:99999", "http://[", "http://a?b"]
)
def test_urls_that_nobody_can_be_asked_at(url: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected http://HOST:PORT"):
        consul(url)
    with pytest.raises(typer.BadParameter, match="expected http://HOST:PORT"):
        etcd(URL, url)


def test_what_goes_together(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="go with --consul URL"):
        consul(None, datacenter="dc1")
    with pytest.raises(typer.BadParameter, match="go with --etcd URL"):
        etcd(prefix="/services")
    with pytest.raises(typer.BadParameter, match="expected where services are"):
        etcd(URL, prefix="/")
    with pytest.raises(typer.BadParameter, match="go together"):
        etcd(URL, login=("reader", None))
    with pytest.raises(typer.BadParameter, match="expected an https:// URL"):
        consul(tls=(str(tmp_path), None, None, None))
    with pytest.raises(typer.BadParameter, match="--consul-cert and --consul-key go together"):
        consul("https://a", tls=(None, str(tmp_path), None, None))


def test_files_and_names_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "roots").write_text("none")
    with pytest.raises(typer.BadParameter, match="expected a file that can be read"):
        consul(token=str(tmp_path / "missing"))
    with pytest.raises(typer.BadParameter, match="not as they should be"):
        consul("https://a", tls=(str(tmp_path / "roots"), None, None, None))
    with pytest.raises(typer.BadParameter, match="expected a DNS name in lower case"):
        consul(domain="Consul.")
    with pytest.raises(typer.BadParameter, match="expected the name of a namespace"):
        etcd(URL, namespace="a/b")
    with pytest.raises(typer.BadParameter, match="expected the name of a datacenter"):
        consul(datacenter="dc 1")
