"""Each kind of probe that a WorkloadGroup can have, done by the machine's own Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from controlplane.ca.certificates import authority, server_certificate
from controlplane.serve.identity import make_key, now
from tests.support.probed_application import NOT_SERVING, Application
from tests.support.processes import free_network
from tests.support.secure_control_plane import HOUR, secure
from tests.support.virtual_machine import Machine
from tests.support.waiting import at_most, until

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: carts}}
spec: {{template: {{serviceAccount: cart, labels: {{app: cart}}}}, probe: {{periodSeconds: 1, failureThreshold: 1, {probe}}}}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: cart}
spec: {workloadSelector: {labels: {app: cart}}, egress: [{hosts: ["./*"]}]}
"""
PROBES = {
    "http": "httpGet: {{path: /ready, port: {http}, httpHeaders: [{{name: x-probe, value: me}}]}}",
    "https": "httpGet: {{path: /ready, port: {tls}, scheme: HTTPS}}",
    "tcp": "tcpSocket: {{port: {tcp}}}",
    "grpc": "grpc: {{port: {grpc}, service: cart}}",
}


class Checked(NamedTuple):
    """A machine, the application on it, and its port that speaks nothing in particular."""

    machine: Machine
    application: Application
    by_tcp: asyncio.Server


def certified(folder: Path) -> ssl.SSLContext:
    """Return what an application has that speaks TLS, with a certificate that nobody has to believe."""
    pair = server_certificate(authority("own", make_key(), now(), HOUR), ("localhost",), make_key(), now(), HOUR)
    (folder / "own.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem")
    return context


@contextlib.asynccontextmanager
async def checked(folder: Path, kind: str) -> AsyncIterator[Checked]:
    """Yield a machine that is checked by a probe of ``kind``, and is well."""
    app = Application()
    manifests = folder / "manifests"
    manifests.mkdir()
    async with app.running("127.0.0.1"):
        by_tls = await asyncio.start_server(app.answer, "127.0.0.1", 0, ssl=certified(folder))
        by_tcp = await asyncio.start_server(app.answer, "127.0.0.1", 0)
        tls, tcp = (each.sockets[0].getsockname()[1] for each in (by_tls, by_tcp))
        probe = PROBES[kind].format(http=app.http, tls=tls, tcp=tcp, grpc=app.grpc)
        (manifests / "group.yaml").write_text(GROUP.format(probe=probe))
        (manifests / "service.yaml").write_text(SERVICE)
        async with machine(folder, manifests) as found:
            yield Checked(found, app, by_tcp)
        by_tls.close()
        by_tcp.close()


@contextlib.asynccontextmanager
async def machine(folder: Path, manifests: Path) -> AsyncIterator[Machine]:
    """Yield a machine that is an instance of the group in ``manifests``, and is well."""
    async with secure(manifests) as plane:
        found = Machine("cart", f"{free_network((15000, 15021, 15090))}.11", folder / "cart", plane)
        await found.prepare("-f", str(manifests / "group.yaml"))
        await found.start()
        try:
            await until(lambda: is_endpoint(found), "it is well", deadline_s=at_most(20), watched=found.process)
            yield found
        finally:
            assert found.process
            await found.process.stop(kill=True)


@pytest.mark.parametrize("kind", PROBES)
async def test_an_instance_gets_requests_while_its_probe_succeeds(tmp_path: Path, kind: str) -> None:
    async with checked(tmp_path, kind) as found:
        found.application.status, found.application.health = 500, NOT_SERVING
        found.by_tcp.close()

        await until(lambda: is_none(found.machine), "it is not well", deadline_s=at_most(10))


async def test_a_machine_that_hangs_gets_no_requests_after_ten_seconds(tmp_path: Path) -> None:
    async with checked(tmp_path, "tcp") as found:
        assert found.machine.process
        found.machine.process.pause()

        await until(lambda: is_none(found.machine), "it is not taken for well", deadline_s=at_most(15))

        found.machine.process.resume()
        await until(lambda: is_endpoint(found.machine), "it is well again", deadline_s=at_most(10))


async def is_none(machine: Machine) -> bool:
    """Return whether they are not."""
    return not await is_endpoint(machine)


async def is_endpoint(machine: Machine) -> bool:
    """Return whether the proxies that ask for the service of ``machine`` are sent to it: it is the one that asks here."""
    own = f"sidecar~{machine.ip}~cart-1.default~default.svc.cluster.local"
    status, body = await machine.plane.running.get(f"/v1/proxies/{own}/config/endpoints")
    return status == 200 and f'"{machine.ip}"' in body
