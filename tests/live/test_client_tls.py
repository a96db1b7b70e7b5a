"""What a DestinationRule says of TLS, by what a real Envoy does: towards servers of others, and within the mesh."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.certificates import Authority, write_files
from tests.support.envoys import HOSTS, REVIEWS, DemoMesh, rule, running, to
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "secure.example"
ENTRY = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [secure.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %d}]
  endpoints: [{address: %s}]
  subjectAltNames: %s
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside}
spec: {host: secure.example, trafficPolicy: {tls: %s}}
"""
RULE = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {tls: {mode: %s}}
  subsets: [{name: v1, labels: {version: v1}}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    async with running(tmp_path_factory.mktemp("client-tls"), secure=True) as started:
        await started.accepted(started.route("reviews", [rule(to("reviews", "v1"))]), HOSTS)
        yield started


class Server:
    """A server of somebody else's: what it was called by, and who called."""

    def __init__(self) -> None:
        self.port = 0
        self.names: list[str | None] = []
        self.callers: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readline()).startswith(b"GET"):
            while (await reader.readline()).strip():
                pass
            shown = writer.get_extra_info("peercert") or {}
            self.callers.append(str(dict(each[0] for each in shown.get("subject", ())).get("commonName", "")))
            body = json.dumps({"version": "outside"}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    def called(self, socket: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del socket, context
        self.names.append(name)


@asynccontextmanager
async def serving(
    folder: Path, *, asks: Authority | None = None, name: str = HOST, signer: Authority | None = None
) -> AsyncIterator[Server]:
    """Serve HTTPS on the loopback interface by a certificate for ``name``; ``asks``: whoever calls has to show one by that authority."""
    write_files(folder / "server", name, authority=signer)
    context, server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Server()
    context.load_cert_chain(folder / "server" / "tls.crt", folder / "server" / "tls.key")
    context.sni_callback = server.called
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=asks.pem.decode())
    opened = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=context)
    server.port = opened.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        opened.close()


async def said(world: DemoMesh, server: Server, tls: Mapping[str, object], names: Sequence[str] = ()) -> None:
    written = ENTRY % (server.port, "127.0.0.1", json.dumps(names), json.dumps(tls))
    await world.accepted(world.store.save("outside", written), ("Cluster",))


async def answers(world: DemoMesh, *, well: bool) -> None:
    """Wait until requests to the host are answered ``well``, or none is: a cluster comes into effect a moment after it was accepted."""

    async def so() -> bool:
        found = (await world.caller.many(f"http://{HOST}/", 4)).statuses
        return set(found) == {200} if well else 200 not in found

    await until(so, f"the host answers {'well' if well else 'nobody'}")


async def test_simple_checks_who_answers(world: DemoMesh, tmp_path: Path) -> None:
    ours, others = Authority("ours"), Authority("others")
    (tmp_path / "ca.crt").write_bytes(ours.pem)
    simple = {"mode": "SIMPLE", "caCertificates": str(tmp_path / "ca.crt")}
    turns: list[tuple[dict[str, object], bool]] = [
        ({**simple, "subjectAltNames": ["other.example"]}, False),
        ({**simple}, True),
        ({"mode": "DISABLE"}, False),
        ({**simple, "sni": "other.example", "subjectAltNames": [HOST]}, True),
    ]
    async with serving(tmp_path, signer=ours) as server:
        for tls, well in turns:
            await said(world, server, tls)
            await answers(world, well=well)
    assert (server.names[-1], HOST in server.names) == ("other.example", True)
    async with serving(tmp_path, signer=ours, name="other.example") as server:
        await said(world, server, simple)
        await answers(world, well=False)
        await said(world, server, {"mode": "SIMPLE", "insecureSkipVerify": True})
        await answers(world, well=True)
    async with serving(tmp_path, signer=others) as server:
        await said(world, server, simple)
        await answers(world, well=False)


@pytest.mark.parametrize("said_to", [{}, {"sni": HOST}, {"subjectAltNames": [HOST]}])
async def test_without_an_authority_of_its_own_simple_trusts_the_system_s_alone(
    world: DemoMesh, tmp_path: Path, said_to: dict[str, object]
) -> None:
    async with serving(tmp_path, signer=Authority("nobody's")) as server:
        await said(world, server, {"mode": "SIMPLE", "insecureSkipVerify": True})
        await answers(world, well=True)
        server.callers.clear()
        await said(world, server, {"mode": "SIMPLE", **said_to})
        await answers(world, well=False)
        server.callers.clear()
        tally = await world.caller.many(f"http://{HOST}/", 4)

    assert (set(tally.statuses), server.callers) == ({503}, [])


async def test_simple_checks_the_names_of_the_service_entry(world: DemoMesh, tmp_path: Path) -> None:
    ours = Authority("ours")
    (tmp_path / "ca.crt").write_bytes(ours.pem)
    simple = {"mode": "SIMPLE", "caCertificates": str(tmp_path / "ca.crt"), "sni": HOST}
    counts = {}
    for certificate, names, well in (
        (HOST, ["other.example", HOST], True),
        ("other.example", [HOST], False),  # by an authority that is trusted, and called by its name: it is somebody else all the same
        ("other.example", [], True),
    ):
        async with serving(tmp_path, signer=ours, name=certificate) as server:
            await said(world, server, simple, names)
            await answers(world, well=well)
            counts[certificate, bool(names)] = (len(server.callers) > 0, len(server.names) > 0)

    assert counts == {(HOST, True): (True, True), ("other.example", True): (False, True), ("other.example", False): (True, True)}


async def test_mutual_shows_the_certificate_of_the_rule(world: DemoMesh, tmp_path: Path) -> None:
    ours, theirs = Authority("ours"), Authority("theirs")
    write_files(tmp_path / "client", "a-client", authority=theirs)
    (tmp_path / "ca.crt").write_bytes(ours.pem)
    simple = {"mode": "SIMPLE", "caCertificates": str(tmp_path / "ca.crt")}
    files = {"clientCertificate": str(tmp_path / "client" / "tls.crt"), "privateKey": str(tmp_path / "client" / "tls.key")}
    async with serving(tmp_path, signer=ours, asks=theirs) as server:
        await said(world, server, simple)
        await answers(world, well=False)
        assert server.callers == []
        await said(world, server, {**simple, **files, "mode": "MUTUAL"})
        await answers(world, well=True)

    assert set(server.callers) == {"a-client"}
    assert set(server.names) == {HOST}


async def test_a_credential_of_a_secret_is_shown_and_its_authority_asked_for(world: DemoMesh, tmp_path: Path) -> None:
    ours, theirs = Authority("ours"), Authority("theirs")
    chain, key = theirs.issue("a-client")
    entries = {"tls.crt": chain.decode(), "tls.key": key.decode(), "ca.crt": ours.pem.decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "outside"}, "stringData": entries}
    other = {**secret, "stringData": {**entries, "ca.crt": theirs.pem.decode()}}
    async with serving(tmp_path, signer=ours, asks=theirs) as server:
        await said(world, server, {"mode": "MUTUAL", "credentialName": "outside"})
        await answers(world, well=False)
        assert server.callers == []
        await world.store.save("credential", json.dumps(secret))
        await answers(world, well=True)
        assert set(server.callers) == {"a-client"}
    async with serving(tmp_path, signer=ours, asks=theirs) as server:
        await world.store.save("credential", json.dumps(other))
        await said(world, server, {"mode": "SIMPLE", "credentialName": "outside"})
        await answers(world, well=False)
    assert server.callers == []


async def test_istios_own_mode_shows_who_we_are_and_disable_does_not(world: DemoMesh) -> None:
    called, found = world.instances["reviews-v1"], {}
    for mode in ("ISTIO_MUTUAL", "DISABLE", "ISTIO_MUTUAL"):
        await world.accepted(world.store.save("rule", RULE % mode), ("Cluster",))

        async def only(mode: str = mode) -> bool:
            called.callers.clear()
            tally = await world.caller.many(REVIEWS, 10)
            found[mode] = set(called.callers)
            return tally.failed == 0 and len(called.callers) == 1

        await until(only, "requests go one way")

    assert found == {"ISTIO_MUTUAL": {"spiffe://cluster.local/ns/default/sa/productpage"}, "DISABLE": {""}}
