"""A real Envoy as a gateway, before a mesh in which mutual TLS alone is spoken: who comes in, how, and to whom."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import httpx
import pytest
import pytest_asyncio

from controlplane.demo.gateway import Gateway
from controlplane.demo.load import Caller
from controlplane.demo.processes import until
from controlplane.demo.world import HOSTS, LISTENERS, World, peers
from tests.edges.certificates import Authority, write_files
from tests.live.worlds import rule, running, to, traffic

pytestmark = pytest.mark.asyncio(loop_scope="module")

NETWORKING = "networking.istio.io/v1"
CALLED = "spiffe://cluster.local/ns/default/sa/ingress"


class Front:
    """The gateway of a world, the files of its certificates, and who signed them."""

    def __init__(self, world: World, gateway: Gateway, folder: Path) -> None:
        """Prepare certificates below ``folder``."""
        self.world = world
        self.gateway = gateway
        self.folder = folder
        self.authority = Authority()

    async def serve(self, *servers: Mapping[str, object]) -> None:
        """Save that the gateway serves ``servers``, and wait until it has accepted that and listens."""
        saving = self.world.store.save("front", document("Gateway", "front", selector={"app": "ingress"}, servers=servers))
        await self.world.accepted(saving, LISTENERS, by="router")
        ports = [each["port"] for each in servers]
        assert all(isinstance(each, dict) for each in ports)
        await until("the gateway listens", lambda: self._listens(ports), seconds=5, watched=self.gateway.process)

    async def route(self, name: str, *hosts: str, **spec: object) -> None:
        """Save the VirtualService ``name`` for the gateway, and wait until it has accepted that."""
        saving = self.world.store.save(name, document("VirtualService", name, hosts=hosts, gateways=["front"], **spec))
        await self.world.accepted(saving, HOSTS if "http" in spec else LISTENERS, by="router")

    def server(self, protocol: str, number: int, *hosts: str, **tls: object) -> dict[str, object]:
        """Return a server at the gateway's own address, as there are other Envoys on this machine."""
        port = {"number": number, "protocol": protocol, "name": f"p-{number}-{hosts[0].partition('.')[0].replace('*', 'all')}"}
        return {"port": port, "bind": self.gateway.ip, "hosts": hosts, **({"tls": tls} if tls else {})}

    def terminated(self, number: int, host: str, mode: str = "SIMPLE") -> dict[str, object]:
        """Return a server of HTTPS for ``host``, with a certificate of its own."""
        files = self.folder / host
        write_files(files, host, authority=self.authority)
        own = {"serverCertificate": str(files / "tls.crt"), "privateKey": str(files / "tls.key")}
        return self.server(
            "HTTPS", number, host, mode=mode, **own, **({"caCertificates": str(files / "ca.crt")} if mode == "MUTUAL" else {})
        )

    def trusting(self, shown: Path | None = None) -> ssl.SSLContext:
        """Return what a client believes, and what it shows."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if shown:
            context.load_cert_chain(shown / "tls.crt", shown / "tls.key")
        return context

    async def ask(self, url: str, shown: Path | None = None, **headers: str) -> httpx.Response:
        """Return the answer to a request as somebody outside makes it."""
        async with self.gateway.client(self.trusting(shown)) as client:
            return await client.get(url, headers=headers)

    async def _listens(self, ports: list[dict[str, object]]) -> bool:
        try:
            for each in ports:
                _, writer = await asyncio.open_connection(self.gateway.ip, each["number"])
                writer.close()
        except OSError:
            return False
        return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with running(tmp_path_factory.mktemp("gateway"), secure=True, edge=True) as world:
        assert world.gateway
        await world.accepted(world.store.save("peers", peers("STRICT")), LISTENERS)
        yield Front(world, world.gateway, tmp_path_factory.mktemp("certificates"))


def document(kind: str, name: str, **spec: object) -> str:
    return json.dumps({"apiVersion": NETWORKING, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})


async def test_requests_are_routed_by_host_path_and_header_with_the_gateways_identity(front: Front) -> None:
    called = front.world.instances["reviews-v1"]
    called.callers.clear()
    await front.serve(front.server("HTTP", 8080, "*.example"))
    await front.route(
        "shop",
        "shop.example",
        http=[
            rule(to("details"), match=[{"uri": {"prefix": "/details"}}]),
            rule(to("reviews", "v2"), match=[{"headers": {"user": {"exact": "jason"}}}]),
            rule(to("reviews", "v1"), match=[{"uri": {"prefix": "/reviews"}}]),
        ],
    )

    details = await front.ask("http://shop.example/details/0")
    his = await front.ask("http://shop.example/reviews/0", user="jason")
    others = await front.ask("http://shop.example/reviews/0", **{"x-forwarded-client-cert": f"URI={CALLED}/../admin"})
    nothing = [await front.ask(url) for url in ("http://shop.example/other", "http://other.example/details/0", "http://other.test/")]

    assert (details.json()["app"], his.json()["version"], others.json()["version"]) == ("details", "v2", "v1")
    assert [each.status_code for each in nothing] == [404, 404, 404]
    assert called.callers == {CALLED: 1}


async def test_a_canary_through_the_gateway_has_its_share(front: Front) -> None:
    await front.serve(front.server("HTTP", 8080, "*"))
    await front.route("shop", "shop.example", http=[rule(to("reviews", "v1", 80), to("reviews", "v2", 20))])

    async with front.gateway.client(front.trusting()) as client:
        tally = await Caller(client).many("http://shop.example/reviews/0", 600)

    print(f"{tally.versions['v2']} of {tally.total} to v2")
    assert tally.failed == 0
    assert 0.14 < tally.versions["v2"] / tally.total < 0.26


async def test_each_name_has_its_certificate_and_plaintext_is_sent_to_https(front: Front) -> None:
    redirecting = front.server("HTTP", 8080, "*", httpsRedirect=True)
    await front.serve(redirecting, front.terminated(8443, "a.example"), front.terminated(8443, "b.example"))
    await front.route("shop", "a.example", "b.example", http=[rule(to("reviews", "v1"))])

    answers = [await front.ask(f"https://{name}/reviews/0") for name in ("a.example", "b.example")]
    moved = await front.ask("http://a.example/reviews/0?x=1")

    assert [each.status_code for each in answers] == [200, 200]
    assert (moved.status_code, moved.headers["location"]) == (301, "https://a.example/reviews/0?x=1")
    with pytest.raises(httpx.ConnectError):
        await front.ask("https://c.example/reviews/0")


async def test_mutual_refuses_who_shows_no_certificate_or_one_of_another_authority(front: Front, tmp_path: Path) -> None:
    write_files(tmp_path / "known", "client.example", authority=front.authority)
    write_files(tmp_path / "foreign", "client.example")
    await front.serve(front.terminated(8443, "bank.example", "MUTUAL"))
    await front.route("shop", "bank.example", http=[rule(to("reviews", "v1"))])

    assert (await front.ask("https://bank.example/reviews/0", tmp_path / "known")).status_code == 200
    for shown in (None, tmp_path / "foreign"):
        with pytest.raises(httpx.TransportError):
            await front.ask("https://bank.example/reviews/0", shown)


async def test_tls_is_passed_through_by_the_name_that_is_called_and_tcp_whole(front: Front, tmp_path: Path) -> None:
    behind = Authority("behind")
    write_files(tmp_path, "pass.example", authority=behind)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    async with saying(b"by tls\n", server) as by_tls, saying(b"by tcp\n") as by_tcp:
        await front.world.store.save("behind", "\n---\n".join(external("tls", by_tls) for _ in "1") + "\n---\n" + external("tcp", by_tcp))
        await front.serve(front.server("TLS", 8443, "pass.example", mode="PASSTHROUGH"), front.server("TCP", 9000, "*"))
        connections = {
            "tls": [{"match": [{"sniHosts": ["pass.example"]}], "route": [{"destination": {"host": "tls.behind"}}]}],
            "tcp": [{"match": [{"port": 9000}], "route": [{"destination": {"host": "tcp.behind"}}]}],
        }
        await front.route("shop", "pass.example", **connections)

        trusted = ssl.create_default_context(cadata=behind.pem.decode())
        assert await said(front.gateway.ip, 8443, trusted, "pass.example") == b"by tls\n"
        assert await said(front.gateway.ip, 9000) == b"by tcp\n"
        with pytest.raises(OSError, match="."):
            await said(front.gateway.ip, 8443, trusted, "other.example")


async def test_grpc_goes_through(front: Front) -> None:
    async with grpc_server() as port:
        await front.world.store.save("behind", external("grpc", port))
        await front.serve(front.server("GRPC", 8080, "*"))
        await front.route("shop", "grpc.example", http=[rule({"destination": {"host": "grpc.behind"}})])

        async with grpc.aio.insecure_channel(f"{front.gateway.ip}:8080", (("grpc.default_authority", "grpc.example"),)) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Echo/Say")
            assert await call(b"hello", timeout=5) == b"hello"


async def test_policies_of_the_gateway_are_kept_there(front: Front) -> None:
    await front.serve(front.server("HTTP", 8080, "*"))
    await front.route("shop", "shop.example", http=[rule(to("reviews", "v1"))])
    denied = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/reviews/secret*"]}}]}]}
    policy = document("AuthorizationPolicy", "closed", selector={"matchLabels": {"app": "ingress"}}, **denied)
    before = front.world.instances["reviews-v1"].requests
    policy = policy.replace(NETWORKING, "security.istio.io/v1")
    await front.world.accepted(front.world.store.save("closed", policy), LISTENERS, by="router")

    async def refused() -> bool:
        return (await front.ask("http://shop.example/reviews/secret")).status_code == 403

    await until("the policy holds", refused, seconds=5)
    assert (await front.ask("http://shop.example/reviews/0")).status_code == 200
    assert front.world.instances["reviews-v1"].requests - before <= 2  # what was asked for while listeners changed, at most
    await front.world.store.save("closed", "")


def edits(front: Front) -> Iterator[tuple[str, list[Mapping[str, object]], list[Mapping[str, object]]]]:
    """Yield edits: what each is, the servers of the gateway and the rules of its host after it."""
    plain, more = front.server("HTTP", 8080, "*"), front.server("HTTP", 8081, "more.example")
    named, second = front.terminated(8443, "shop.example"), front.terminated(8443, "second.example")
    for turn in range(5):
        yield "weights", [plain, named], [rule(to("reviews", "v1", 60 + turn), to("reviews", "v2", 40 - turn))]
        yield "a port more", [plain, named, more], [rule(to("reviews", "v1"))]
        yield "a certificate more", [plain, named, second], [rule(to("reviews", "v2"))]
        yield "another service", [plain, named], [rule(to("details"))]


async def test_edits_of_gateway_and_routes_under_load_fail_no_request(front: Front) -> None:
    first = next(edits(front))
    await front.serve(*first[1])
    await front.route("shop", "shop.example", http=first[2])
    done = 0
    async with front.gateway.client(front.trusting()) as client:
        caller = Caller(client)
        plaintext = traffic(front.world, "http://shop.example/reviews/0", per_second=60, by=caller)
        encrypted = traffic(front.world, "https://shop.example/reviews/0", per_second=60, by=caller)
        async with plaintext as one, encrypted as two:
            for _, servers, http in edits(front):
                await front.world.store.save("front", document("Gateway", "front", selector={"app": "ingress"}, servers=servers))
                await front.world.store.save(
                    "shop", document("VirtualService", "shop", hosts=["shop.example"], gateways=["front"], http=http)
                )
                done += 1
                least = one.total + two.total + 12

                async def more(least: int = least) -> bool:
                    return one.total + two.total >= least

                await until("more requests", more, seconds=20)

    print(f"{done} edits of both, {one.total + two.total} requests, {one.failed + two.failed} failed")
    assert done == 20
    assert (one.failed, two.failed, one.errors, two.errors) == (0, 0, [], [])


def external(name: str, port: int) -> str:
    """Return a ServiceEntry ``name.behind`` that is at ``port`` of this machine."""
    ports = [{"number": 7000, "name": name, "protocol": name.upper()}]
    endpoints = [{"address": "127.0.0.1", "ports": {name: port}}]
    return document("ServiceEntry", name, hosts=[f"{name}.behind"], ports=ports, resolution="STATIC", endpoints=endpoints)


@asynccontextmanager
async def saying(text: bytes, server: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Say ``text`` to everybody who connects to the port that is yielded."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server) as listening:
        yield listening.sockets[0].getsockname()[1]


async def said(host: str, port: int, context: ssl.SSLContext | None = None, name: str | None = None) -> bytes:
    """Return what is said to who connects."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        try:
            return await reader.readline()
        finally:
            writer.close()


@asynccontextmanager
async def grpc_server() -> AsyncIterator[int]:
    """Serve a method that says what it is told, in plaintext, at the port that is yielded."""

    async def say(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("test.Echo", {"Say": grpc.unary_unary_rpc_method_handler(say)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
