"""The source ``consul`` before the double: what it asks, and every fault that must take nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.settings import ConsulSettings, RegistryTls
from controlplane.sources.consul import queries
from controlplane.sources.consul.source import consul_source
from controlplane.sources.registry.source import RegistrySource
from tests.support.certificates import write_files
from tests.support.consul.server import real_consul
from tests.support.fakes.consul import ConsulDouble, consul_double
from tests.support.heard import Heard, heard
from tests.support.processes import free_port
from tests.support.single_envoy import TcpRelay
from tests.support.waiting import until

BOTH = {"web": ["10.0.0.1", "10.0.0.2"]}


def source(url: str, *, sync_timeout_s: float = 120.0, **settings: object) -> RegistrySource:
    return consul_source(ConsulSettings(url=url, **settings), sync_timeout_s, lambda: 0.0)  # type: ignore[arg-type]


def register(consul: ConsulDouble, *numbers: int, name: str = "web", **fields: object) -> None:
    for number in numbers:
        check = {"TTL": "1h", "Status": "passing"}
        consul.register({"Name": name, "ID": f"{name}-{number}", "Address": f"10.0.0.{number}", "Port": 80, "Check": check, **fields})


async def settled(consul: ConsulDouble, hears: Heard) -> None:
    """Wait until something that is registered now has come through, after everything that was before."""
    name = f"mark-{consul._index}"
    register(consul, 9, name=name)
    await until(lambda: name in hears.endpoints, name)


async def test_what_is_there_and_what_changes() -> None:
    async with consul_double() as consul:
        register(consul, 1, 2)
        register(consul, 3, name="db")
        async with heard(source(consul.url)) as hears:
            assert hears.batches[0] == {**BOTH, "db": ["10.0.0.3"]}
            consul.set_check("n1", "web-1", "service:web-1", "critical")
            await until(lambda: hears.endpoints["web"] == ["10.0.0.2"], "a failure")
            consul.set_check("n1", "web-2", "service:web-2", "critical")
            await until(lambda: hears.endpoints["web"] == [], "two failures")
            consul.set_check("n1", "web-1", "service:web-1", "passing")
            await until(lambda: hears.endpoints["web"] == ["10.0.0.1"], "a success")
            consul.deregister("db-3")
            await until(lambda: "db" not in hears.endpoints, "a deregistration")


async def test_services_are_chosen_by_tag_and_by_name() -> None:
    async with consul_double() as consul:
        register(consul, 1, name="web-a", Tags=["mesh"])
        register(consul, 2, name="web-b")
        register(consul, 3, name="db", Tags=["mesh"])
        async with heard(source(consul.url, tags=("mesh",), names=("web-*",))) as hears:
            assert hears.endpoints == {"web-a": ["10.0.0.1"]}


async def test_proxies_of_consul_s_own_mesh_are_no_instances() -> None:
    async with consul_double() as consul:
        register(consul, 1)
        consul.register({"Name": "web-sidecar-proxy", "Address": "10.0.0.1", "Port": 21000})
        consul._services["n1", "web-sidecar-proxy"]["Kind"] = "connect-proxy"
        async with heard(source(consul.url)) as hears:
            assert hears.endpoints == {"web": ["10.0.0.1"]}


@pytest.mark.parametrize("status", [500, 429, 403])
async def test_an_error_takes_nothing_away(status: int) -> None:
    async with consul_double() as consul:
        register(consul, 1, 2)
        async with heard(source(consul.url)) as hears:
            consul.status = status
            consul.set_check("n1", "web-1", "service:web-1", "critical")
            await until(lambda: "RegistryUnreachable" in hears.troubles(), "trouble")
            assert hears.endpoints == BOTH
            consul.status = 0
            await until(lambda: hears.endpoints["web"] == ["10.0.0.2"], "what happened meanwhile")
            await until(lambda: not hears.troubles(), "no trouble")


async def test_a_server_without_a_leader_is_not_believed() -> None:
    async with consul_double() as consul:
        register(consul, 1, 2)
        async with heard(source(consul.url)) as hears:
            consul.leader = False
            consul.set_check("n1", "web-1", "service:web-1", "critical")
            await until(lambda: "RegistryUnreachable" in hears.troubles(), "trouble")
            assert hears.endpoints == BOTH


async def test_what_a_consul_lacks_that_came_back_empty_stays_for_a_while() -> None:
    async with consul_double() as consul:
        register(consul, 1, 2)
        register(consul, 3, name="db")
        async with heard(source(consul.url)) as hears:
            await consul.restart()
            register(consul, 2, 4)
            await until(lambda: "10.0.0.4" in hears.endpoints["web"], "what is registered anew")
            assert hears.endpoints == {"web": ["10.0.0.1", "10.0.0.2", "10.0.0.4"], "db": ["10.0.0.3"]}
            assert "RegistryRestarted" in hears.troubles()


async def test_a_connection_that_died_silently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "WAIT_S", 1.0)
    monkeypatch.setattr(queries, "_SLACK_S", 0.2)
    monkeypatch.setattr(queries, "_TIMEOUT_S", 1.0)
    async with consul_double() as consul:
        register(consul, 1, 2)
        relay = TcpRelay(consul.port)
        async with relay.open() as address, heard(source(f"http://{address}")) as hears:
            relay.silent = True
            consul.set_check("n1", "web-1", "service:web-1", "critical")
            await until(lambda: "RegistryUnreachable" in hears.troubles(), "trouble")
            assert hears.endpoints == BOTH
            relay.silent = False
            relay.cut()
            await until(lambda: hears.endpoints["web"] == ["10.0.0.2"], "what happened meanwhile")


async def test_a_connection_that_is_closed_halfway_is_replaced() -> None:
    async with consul_double() as consul:
        register(consul, 1, 2)
        relay = TcpRelay(consul.port)
        async with relay.open() as address, heard(source(f"http://{address}")) as hears:
            taken = relay.taken
            relay.end_answers()
            consul.set_check("n1", "web-1", "service:web-1", "critical")
            await until(lambda: hears.endpoints["web"] == ["10.0.0.2"], "what happened meanwhile")
            assert relay.taken > taken
            await until(lambda: not hears.troubles(), "no trouble")


async def test_a_real_consul_by_tls_by_which_both_know_each_other(tmp_path: Path) -> None:
    files = tmp_path / "tls"
    write_files(files, "localhost")
    tls = RegistryTls(roots=str(files / "ca.crt"), certificate=str(files / "tls.crt"), key=str(files / "tls.key"))
    async with real_consul(tmp_path / "consul", files) as server:
        await server.api.register("web", "10.0.0.1", 80)
        async with heard(source(server.url, tls=tls)) as hears:
            assert hears.endpoints == {"web": ["10.0.0.1"]}
            await server.api.register("web", "10.0.0.2", 80)
            await until(lambda: hears.endpoints == BOTH, "an instance more")
        async with heard(source(server.url, tls=RegistryTls(roots=tls.roots)), wait=False) as hears:
            await until(lambda: "RegistryUnreachable" in hears.troubles(), "a refusal by Consul")
            assert hears.endpoints == {}
        async with heard(source(server.url), wait=False) as hears:
            await until(lambda: "certificate is not believed" in (hears.source.not_ready() or ""), "a refusal of Consul")


async def test_many_services_need_few_connections() -> None:
    async with consul_double() as consul:
        for service in range(300):
            register(consul, *range(10), name=f"s{service}")
        async with heard(source(consul.url)) as hears:
            assert len(hears.endpoints) == 300
            consul.set_check("n1", "s7-1", "service:s7-1", "critical")
            await until(lambda: len(hears.endpoints["s7"]) == 9, "a failure")
            consul.deregister("s299-1")
            register(consul, 77, name="s298")
            await until(lambda: len(hears.endpoints["s299"]) == 9 and len(hears.endpoints["s298"]) == 11, "instances that come and go")
    assert consul.most_connections <= 9


async def test_a_token_is_read_from_its_file_and_told_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = tmp_path / "token"
    token.write_text("wrong-secret\n")
    async with consul_double() as consul:
        consul.token = "right-secret"
        register(consul, 1, 2)
        async with heard(source(consul.url, token_file=str(token)), wait=False) as hears:
            await until(lambda: "403" in (hears.source.not_ready() or ""), "a refusal")
            token.write_text("right-secret\n")
            await until(lambda: hears.endpoints == BOTH, "what the token lets it see")
            assert "secret" not in str(hears.source.not_ready())
    assert "secret" not in caplog.text


async def test_nobody_waits_longer_than_told_for_a_consul_that_is_down() -> None:
    async with heard(source(f"http://127.0.0.1:{free_port()}", sync_timeout_s=0.2)) as hears:
        assert hears.batches == [{}]
        assert hears.troubles() == {"RegistryUnreachable"}
        [[located], *_] = hears.source.locations().problems_by_document()
        assert located.problem.message.endswith("; nothing of it is there until it answers")


async def test_one_service_that_cannot_be_used_takes_no_other_with_it() -> None:
    async with consul_double() as consul:
        register(consul, 1, 2)
        register(consul, 3, name="Not a name")
        register(consul, 4, name="nowhere", Address="unix:///run/x")
        async with heard(source(consul.url)) as hears:
            assert hears.endpoints == {**BOTH, "nowhere": []}
            await settled(consul, hears)
            messages = [located.problem.message for of_one in hears.source.locations().problems_by_document() for located in of_one]
    assert any("unix:///run/x" in message for message in messages)
    assert any("'not a name'" in message for message in messages)
