"""A real Envoy as a gateway, before a mesh in which mutual TLS alone is spoken: who comes in, how, and to whom."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import grpc.aio
import httpx
import pytest
import pytest_asyncio

from tests.support.certificates import Authority, write_files
from tests.support.envoys import LISTENERS, LoadGenerator, peer_authentication_manifest, rule, running, to, traffic
from tests.support.gateway_world import GatewayWorld, external, grpc_server, said, saying
from tests.support.manifests import NETWORKING, document
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    async with running(tmp_path_factory.mktemp("gateway"), secure=True, edge=True) as world:
        assert world.gateway
        await world.accepted(world.store.save("peers", peer_authentication_manifest("STRICT")), LISTENERS)
        yield GatewayWorld(world, world.gateway, tmp_path_factory.mktemp("certificates"))


async def test_requests_are_routed_by_host_path_and_header_with_the_gateways_identity(front: GatewayWorld) -> None:
    called = front.world.instances["reviews-v1"]
    http = [
        rule(to("details"), match=[{"uri": {"prefix": "/details"}}]),
        rule(to("reviews", "v2"), match=[{"headers": {"user": {"exact": "jason"}}}]),
        rule(to("reviews", "v1"), match=[{"uri": {"prefix": "/reviews"}}]),
    ]
    await front.show([front.server("HTTP", 8080, "*.example")], "shop.example", http=http)
    await front.until_answers("http://shop.example/details/0")
    called.callers.clear()

    details = await front.ask("http://shop.example/details/0")
    his = await front.ask("http://shop.example/reviews/0", headers={"user": "jason"})
    others = await front.ask("http://shop.example/reviews/0", headers={"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/a/sa/b"})
    nothing = [await front.ask(url) for url in ("http://shop.example/other", "http://other.example/details/0", "http://other.test/")]

    assert (details.json()["app"], his.json()["version"], others.json()["version"]) == ("details", "v2", "v1")
    assert [each.status_code for each in nothing] == [404, 404, 404]
    assert called.callers == {"spiffe://cluster.local/ns/default/sa/ingress": 1}


async def test_a_canary_through_the_gateway_has_its_share(front: GatewayWorld) -> None:
    http = [rule(to("reviews", "v1", 80), to("reviews", "v2", 20))]
    await front.show([front.server("HTTP", 8080, "*")], "canary.example", http=http)
    await front.until_answers("http://canary.example/reviews/0")

    async with front.gateway.client(front.trusting()) as client:
        tally = await LoadGenerator(client).many("http://canary.example/reviews/0", 600)

    print(f"{tally.versions['v2']} of {tally.total} to v2")
    assert tally.failed == 0
    assert 0.14 < tally.versions["v2"] / tally.total < 0.26


async def test_each_name_has_its_certificate_and_plaintext_is_sent_to_https(front: GatewayWorld) -> None:
    redirecting = front.server("HTTP", 8080, "*", httpsRedirect=True)
    servers = [redirecting, front.terminated(8443, "a.example"), front.terminated(8443, "b.example")]
    await front.show(servers, "a.example", "b.example", http=[rule(to("reviews", "v1"))])
    await front.until_answers("https://a.example/reviews/0")

    answers = [await front.ask(f"https://{name}/reviews/0") for name in ("a.example", "b.example")]
    moved = await front.ask("http://a.example/reviews/0?x=1")

    assert [each.status_code for each in answers] == [200, 200]
    assert (moved.status_code, moved.headers["location"]) == (301, "https://a.example/reviews/0?x=1")
    with pytest.raises(httpx.ConnectError):
        await front.ask("https://c.example/reviews/0")


async def test_certificates_come_from_secrets_and_rotate_without_a_failed_request(front: GatewayWorld) -> None:
    await front.world.store.save("credential", "")
    server = front.server("HTTPS", 8443, "secret.example", mode="SIMPLE", credentialName="shop")
    await front.show([server], "secret.example", http=[rule(to("reviews", "v1"))])

    async def told() -> bool:
        return any(row["code"] == "BadCredential" for row in await front.world.problems())

    await until(told, "a Problem says that there is no certificate")
    assert await said(front.gateway.ip, 8443, front.trusting(), "secret.example") == b""
    await front.world.store.save("credential", front.credential("shop", "secret.example"))
    await front.until_answers("https://secret.example/reviews/0")
    before = await front.certificate("secret.example")

    async def rotated() -> bool:
        return await front.certificate("secret.example") != before

    async with front.gateway.client(front.trusting()) as client:
        caller = LoadGenerator(client)
        async with traffic(front.world, "https://secret.example/reviews/0", per_second=60, by=caller) as tally:
            await front.world.store.save("credential", front.credential("shop", "secret.example"))
            await until(rotated, "the new certificate is shown")

    assert (tally.failed, tally.errors) == (0, [])
    assert await told() is False


async def test_mutual_refuses_who_shows_no_certificate_or_one_of_another_authority(front: GatewayWorld, tmp_path: Path) -> None:
    write_files(tmp_path / "known", "client.example", authority=front.authority)
    write_files(tmp_path / "foreign", "client.example", authority=Authority("another"))
    await front.show([front.terminated(8443, "bank.example", "MUTUAL")], "bank.example", http=[rule(to("reviews", "v1"))])

    await front.until_answers("https://bank.example/reviews/0", shown=tmp_path / "known")

    for shown in (None, tmp_path / "foreign"):
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await front.ask("https://bank.example/reviews/0", shown)


async def test_tls_is_passed_through_by_the_name_that_is_called_and_tcp_whole(front: GatewayWorld, tmp_path: Path) -> None:
    behind = Authority("behind")
    write_files(tmp_path, "pass.example", authority=behind)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    trusted = ssl.create_default_context(cadata=behind.pem.decode())
    connections = {
        "tls": [{"match": [{"sniHosts": ["pass.example"]}], "route": [{"destination": {"host": "tls.behind"}}]}],
        "tcp": [{"match": [{"port": 9000}], "route": [{"destination": {"host": "tcp.behind"}}]}],
    }
    async with saying(b"by tls\n", server) as by_tls, saying(b"by tcp\n") as by_tcp:
        await front.world.store.save("behind", f"{external('tls', by_tls)}\n---\n{external('tcp', by_tcp)}")
        servers = [front.server("TLS", 8443, "pass.example", mode="PASSTHROUGH"), front.server("TCP", 9000, "*")]
        await front.show(servers, "pass.example", **connections)

        async def passed() -> bool:
            return await said(front.gateway.ip, 8443, trusted, "pass.example") == b"by tls\n"

        await until(passed, "TLS is passed through")
        assert await said(front.gateway.ip, 9000) == b"by tcp\n"
        assert await said(front.gateway.ip, 8443, trusted, "other.example") == b""


async def test_mutual_tls_passes_to_the_subset_that_its_server_name_says_with_the_clients_identity(front: GatewayWorld) -> None:
    called, other = front.world.instances["reviews-v1"], front.world.instances["reviews-v2"]
    wanted = "outbound_.9080_.v1_.reviews.default.svc.cluster.local"
    mutual = {"mode": "ISTIO_MUTUAL", "sni": wanted, "subjectAltNames": ["spiffe://cluster.local/ns/default/sa/reviews"]}
    ports, at = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8443}], [{"address": front.gateway.ip}]
    passing = front.server("TLS", 8443, "*.default.svc.cluster.local", mode="AUTO_PASSTHROUGH")
    documents = (
        document("Gateway", "between", selector={"app": "ingress"}, servers=[passing]),
        document("ServiceEntry", "far", hosts=["far.example"], ports=ports, resolution="STATIC", endpoints=at),
        document("DestinationRule", "far", host="far.example", trafficPolicy={"tls": mutual}),
    )
    await front.world.store.save("front", "\n---\n".join(documents))

    async def passed() -> bool:
        return set((await front.world.caller.many("http://far.example/reviews/0", 4)).statuses) == {200}

    await until(passed, "mutual TLS passes the gateway", watched=front.gateway.process)
    called.callers.clear()
    before = other.requests
    tally = await front.world.caller.many("http://far.example/reviews/0", 40)

    assert (tally.failed, dict(tally.versions), other.requests) == (0, {"v1": 40}, before)
    assert called.callers == {"spiffe://cluster.local/ns/default/sa/productpage": 40}
    assert await front.lets_in(8443, wanted, "istio")
    assert not await front.lets_in(8443, wanted, "h2")
    assert not await front.lets_in(8443, "outbound_.9080_.v9_.reviews.default.svc.cluster.local", "istio")


@pytest.mark.parametrize("encrypted", [False, True])
async def test_grpc_goes_through_in_plaintext_and_by_tls(front: GatewayWorld, *, encrypted: bool) -> None:
    servers = [front.server("GRPC", 8080, "*"), front.terminated(8443, "grpc.example")]
    named = (("grpc.default_authority", "grpc.example"), ("grpc.ssl_target_name_override", "grpc.example"))
    async with grpc_server() as port:
        await front.world.store.save("behind", external("grpc", port))
        await front.show(servers, "grpc.example", http=[rule({"destination": {"host": "grpc.behind"}})])
        if encrypted:
            channel = grpc.aio.secure_channel(f"{front.gateway.ip}:8443", grpc.ssl_channel_credentials(front.authority.pem), named)
        else:
            channel = grpc.aio.insecure_channel(f"{front.gateway.ip}:8080", named)
        async with channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Echo/Say")

            async def answers() -> bool:
                try:
                    return await call(b"hello", timeout=DEADLINE_S) == b"hello"
                except grpc.aio.AioRpcError:
                    return False

            await until(answers, "gRPC goes through")


async def test_policies_of_the_gateway_are_kept_there(front: GatewayWorld) -> None:
    await front.show([front.server("HTTP", 8080, "*")], "guarded.example", http=[rule(to("reviews", "v1"))])
    await front.until_answers("http://guarded.example/secret")
    denied = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/secret*"]}}]}]}
    policy = document("AuthorizationPolicy", "closed", selector={"matchLabels": {"app": "ingress"}}, **denied)

    await front.world.store.save("closed", policy.replace(NETWORKING, "security.istio.io/v1"))

    await front.until_answers("http://guarded.example/secret", 403)
    before = front.world.instances["reviews-v1"].requests
    assert (await front.ask("http://guarded.example/secret/more")).status_code == 403
    assert front.world.instances["reviews-v1"].requests == before
    assert (await front.ask("http://guarded.example/reviews/0")).status_code == 200
    await front.world.store.save("closed", "")


def edits(front: GatewayWorld) -> Iterator[tuple[list[Mapping[str, object]], list[Mapping[str, object]]]]:
    """Yield edits: the servers of the gateway and the rules of its host after each."""
    plain, more = front.server("HTTP", 8080, "*"), front.server("HTTP", 8081, "more.example")
    named, second = front.terminated(8443, "live.example"), front.terminated(8443, "second.example")
    for turn in range(5):
        yield [plain, named], [rule(to("reviews", "v1", 60 + turn), to("reviews", "v2", 40 - turn))]
        yield [plain, named, more], [rule(to("reviews", "v1"))]
        yield [plain, named, second], [rule(to("reviews", "v2"))]
        yield [plain, named], [rule(to("details"))]


async def test_edits_of_gateway_and_routes_under_load_fail_no_request(front: GatewayWorld) -> None:
    servers, http = next(edits(front))
    await front.show(servers, "live.example", http=http)
    await front.until_answers("https://live.example/reviews/0")
    done = 0
    async with front.gateway.client(front.trusting()) as client:
        caller = LoadGenerator(client)
        plaintext = traffic(front.world, "http://live.example/reviews/0", per_second=60, by=caller)
        encrypted = traffic(front.world, "https://live.example/reviews/0", per_second=60, by=caller)
        async with plaintext as one, encrypted as two:
            for servers, http in edits(front):
                await front.show(servers, "live.example", http=http)
                done += 1
                least = one.total + two.total + 12

                async def more(least: int = least) -> bool:
                    return one.total + two.total >= least

                await until(more, "more requests")

    print(f"{done} edits of both, {one.total + two.total} requests, {one.failed + two.failed} failed")
    assert done == 20
    assert (one.failed, two.failed, one.errors, two.errors) == (0, 0, [], [])
