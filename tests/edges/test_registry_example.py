"""The application of examples/registry registers itself, in etcd and in the double of Consul, and is gone when it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from controlplane.settings import ConsulSettings, EtcdSettings
from controlplane.sources.consul.source import consul_source
from controlplane.sources.etcd.source import etcd_source
from controlplane.sources.registry.source import RegistrySource
from tests.support.etcd import etcd
from tests.support.fakes.consul import consul_double
from tests.support.heard import heard
from tests.support.processes import Process, free_port, start
from tests.support.waiting import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "registry" / "app.py"


def in_etcd(url: str) -> RegistrySource:
    return etcd_source(EtcdSettings(urls=(url,), prefix="/services"), 120, lambda: 0.0)


async def application(folder: Path, *options: str) -> Process:
    return await start("app", [sys.executable, str(EXAMPLE), "--port", str(free_port()), *options], folder)


async def test_in_etcd_it_is_gone_when_its_lease_ends(tmp_path: Path) -> None:
    async with etcd(tmp_path / "etcd") as server, heard(in_etcd(server.url)) as hears:
        app = await application(tmp_path, "--etcd", server.url, "--version", "v2", "--ttl", "1")
        try:
            await until(lambda: hears.endpoints == {"hello": ["127.0.0.1"]}, "the registration", watched=app)
            assert dict(hears.entries["hello"].spec.endpoints[0].labels) == {"version": "v2"}
        finally:
            await app.stop(kill=True)
        await until(lambda: hears.endpoints == {}, "the end of the lease")


async def test_in_consul_it_takes_its_registration_back_when_it_is_interrupted(tmp_path: Path) -> None:
    async with consul_double() as consul, heard(consul_source(ConsulSettings(url=consul.url), 120, lambda: 0.0)) as hears:
        app = await application(tmp_path, "--consul", consul.url)
        try:
            await until(lambda: hears.endpoints == {"hello": ["127.0.0.1"]}, "the registration", watched=app)
        finally:
            app.terminate()
            await until(lambda: not app.alive, "the end of the application")
        await until(lambda: hears.endpoints == {}, "the end of the registration")
