"""TLS that a Sidecar's ingress terminates for clients from outside of the mesh, by what they and peers get of a real Envoy."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support.certificates import Authority, write_files
from tests.support.mesh_clients import FRIEND
from tests.support.policy_world import OTHER_HTTP, PolicyWorld, policy_world
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
_HOST = "web.example"
_STRICT = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("ingress-tls")) as started:
        yield started


async def asked(world: PolicyWorld, authority: Authority, shown: Path | None = None) -> int:
    """Return the status of a request by HTTPS of somebody who trusts ``authority``, 0 where none comes."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if shown:
        context.load_cert_chain(shown / "tls.crt", shown / "tls.key")
    url = f"https://{world.network}.11:{OTHER_HTTP}/"
    try:
        async with httpx.AsyncClient(verify=context, timeout=DEADLINE_S) as client:
            return (await client.get(url, headers={"host": _HOST}, extensions={"sni_hostname": _HOST})).status_code
    except (httpx.TransportError, ssl.SSLError):
        return 0


async def test_clients_from_outside_come_by_the_ingress_s_own_tls_and_peers_by_theirs(world: PolicyWorld, tmp_path: Path) -> None:
    ours, theirs, others = Authority("ours"), Authority("theirs"), Authority("others")
    write_files(tmp_path, _HOST, authority=ours)
    write_files(tmp_path / "client", "client.example", authority=theirs)
    write_files(tmp_path / "other", "client.example", authority=others)
    (tmp_path / "clients.crt").write_bytes(theirs.pem)
    files = f"serverCertificate: {tmp_path / 'tls.crt'}, privateKey: {tmp_path / 'tls.key'}, caCertificates: {tmp_path / 'clients.crt'}"

    world.edit("protocol: HTTP, name: http-other}", f"protocol: HTTPS, name: https}}, tls: {{mode: MUTUAL, {files}}}")

    async def served() -> bool:
        return await asked(world, ours, tmp_path / "client") == 200

    await until(served, "a client with a certificate is served")
    found = {
        "without a certificate": await asked(world, ours),
        "with somebody's": await asked(world, ours, tmp_path / "other"),
        "in plaintext": (await world.ask(who=None, port=OTHER_HTTP)).status,
        "a peer": (await world.ask(who=FRIEND, port=OTHER_HTTP)).status,
    }
    await world.apply(_STRICT)
    strict = [await asked(world, ours, tmp_path / "client"), (await world.ask(who=FRIEND, port=OTHER_HTTP)).status]

    assert found == {"without a certificate": 0, "with somebody's": 0, "in plaintext": 0, "a peer": 200}
    assert strict == [0, 200]
