"""The source ``etcd`` before a real etcd: passwords, TLS, compaction, members that are down, and a store that was put back."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from controlplane.settings import EtcdSettings, RegistryTls
from controlplane.sources.etcd import gateway
from controlplane.sources.etcd.source import etcd_source
from controlplane.sources.registry.source import RegistrySource
from tests.support.certificates import write_files
from tests.support.etcd import etcd
from tests.support.heard import Heard, heard
from tests.support.processes import free_port
from tests.support.single_envoy import TcpRelay
from tests.support.waiting import until

PASSWORD = "correct horse battery staple"
NOBODY = f"http://127.0.0.1:{free_port()}"


def source(*urls: str, sync_timeout_s: float = 120.0, **settings: object) -> RegistrySource:
    return etcd_source(EtcdSettings(urls=urls, prefix="/services", **settings), sync_timeout_s, lambda: 0.0)  # type: ignore[arg-type]


def shows(hears: Heard, **services: list[str]) -> bool:
    return hears.endpoints == services


async def test_what_is_there_and_what_changes(tmp_path: Path) -> None:
    async with etcd(tmp_path) as server:
        await server.register("web", "10.0.0.1:80")
        await server.register("other/web", "10.0.0.9:80")
        await server.ask("/v3/kv/put", {"key": "L3NlcnZpY2VzMg==", "value": "AA=="})  # beside the prefix
        async with heard(source(server.url)) as hears:
            assert hears.batches[0] == {"web": ["10.0.0.1"], "other.web": ["10.0.0.9"]}
            await server.register("web", "10.0.0.2:80")
            await until(lambda: hears.endpoints["web"] == ["10.0.0.1", "10.0.0.2"])
            await server.delete("/services/web/10.0.0.1:80")
            await server.delete("/services/other/web/10.0.0.9:80")
            await until(lambda: shows(hears, web=["10.0.0.2"]))


async def test_a_user_with_a_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}x\n")
    async with etcd(tmp_path / "etcd", ("--auth-token-ttl", "1")) as server:
        await server.register("web", "10.0.0.1:80")
        await server.require_users(PASSWORD)
        async with heard(source(server.url, user="reader", password_file=str(secret)), wait=False) as hears:
            await until(lambda: "400" in (hears.source.not_ready() or ""), "a refusal")
            secret.write_text(f"{PASSWORD}\n")
            await until(lambda: shows(hears, web=["10.0.0.1"]))
    assert PASSWORD not in caplog.text


async def test_tls_by_which_both_know_each_other(tmp_path: Path) -> None:
    files = tmp_path / "tls"
    write_files(files, "localhost")
    context = ssl.create_default_context(cafile=str(files / "ca.crt"))
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    paths = {"cert-file": "tls.crt", "key-file": "tls.key", "trusted-ca-file": "ca.crt"}
    options = ("--client-cert-auth=true", *(f"--{name}={files / path}" for name, path in paths.items()))
    tls = RegistryTls(roots=str(files / "ca.crt"), certificate=str(files / "tls.crt"), key=str(files / "tls.key"))
    async with etcd(tmp_path / "etcd", options, context) as server:
        await server.register("web", "10.0.0.1:80")
        async with heard(source(server.url, tls=tls)) as hears:
            assert shows(hears, web=["10.0.0.1"])
        async with heard(source(server.url, tls=RegistryTls(roots=tls.roots)), wait=False) as hears:
            await until(lambda: "has not answered yet" not in (hears.source.not_ready() or ""), "a refusal")
            assert hears.endpoints == {}
        async with heard(source(server.url), wait=False) as hears:
            await until(lambda: "certificate is not believed" in (hears.source.not_ready() or ""), "a refusal")


async def test_what_happened_while_history_was_thrown_away_is_not_missed(tmp_path: Path) -> None:
    async with etcd(tmp_path) as server:
        relay = TcpRelay(server.port)
        await server.register("web", "10.0.0.1:80")
        await server.register("gone", "10.0.0.3:80")
        async with relay.open() as address, heard(source(f"http://{address}")) as hears:
            relay.down = True
            relay.cut()
            await server.register("web", "10.0.0.2:80")
            await server.delete("/services/gone/10.0.0.3:80")
            await server.compact()
            relay.down = False
            await until(lambda: shows(hears, web=["10.0.0.1", "10.0.0.2"]))


async def test_a_connection_that_died_silently_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_IDLE_S", 0.2)
    monkeypatch.setattr(gateway, "_TIMEOUT_S", 1.0)
    async with etcd(tmp_path) as server:
        relay = TcpRelay(server.port)
        await server.register("web", "10.0.0.1:80")
        async with relay.open() as address, heard(source(f"http://{address}")) as hears:
            relay.silent = True
            await server.register("web", "10.0.0.2:80")
            await until(lambda: bool(hears.troubles()), "trouble")
            relay.silent = False
            relay.cut()
            await until(lambda: shows(hears, web=["10.0.0.1", "10.0.0.2"]))
            await until(lambda: not hears.troubles(), "no trouble")


async def test_another_member_is_asked_where_one_is_down(tmp_path: Path) -> None:
    async with etcd(tmp_path) as server:
        await server.register("web", "10.0.0.1:80")
        async with heard(source(NOBODY, server.url)) as hears:
            assert shows(hears, web=["10.0.0.1"])


async def test_what_a_store_lacks_that_was_put_back_stays_for_a_while(tmp_path: Path) -> None:
    async with etcd(tmp_path) as server:
        for number in range(1, 4):
            await server.register("web", f"10.0.0.{number}:80")
        async with heard(source(server.url)) as hears:
            await server.stop(kill=True)
            await server.start("another")
            await server.register("new", "10.0.0.7:80")
            await until(lambda: "new" in hears.endpoints, "what is new")
            assert hears.endpoints["web"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
            assert "RegistryRestarted" in hears.troubles()


async def test_nobody_waits_longer_than_told_for_an_etcd_that_is_down() -> None:
    async with heard(source(NOBODY, sync_timeout_s=0.2)) as hears:
        assert hears.batches == [{}]
        assert (hears.source.not_ready() or "").startswith("etcd http://127.0.0.1:")
        assert hears.troubles() == {"RegistryUnreachable"}
