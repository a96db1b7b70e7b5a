"""Nobody is let in without a reason: to any method of any service at any address, or to any route, whatever fails on the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import APIRouter, FastAPI

from controlplane.admin.api import admin_app
from controlplane.admin.health import health_app
from controlplane.admin.host_check import HostCheck
from controlplane.admin.route_access import ACCESS, RouteAccess, UnlistedRoute, include_routers
from controlplane.admin.state import AdminState
from controlplane.ca.certificates import key_pem, workload_certificate
from controlplane.ca.file_store import FileStore
from controlplane.ca.rotation import load_state
from controlplane.envoy.type_urls import SDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.identity import Identity
from controlplane.serve.authn import authenticators
from controlplane.serve.authn.authenticators import (
    Caller,
    CertificateAuthenticator,
    PlaintextAuthenticator,
    TokenAuthenticator,
    TokenSubject,
)
from controlplane.serve.authn.tokens import LocalTokens
from controlplane.serve.xds import nodes
from controlplane.serve.xds.services import SERVICES
from tests.support.control_plane import delta, next_delta, next_sotw, sotw, sotw_request
from tests.support.grpc_methods import OF_THE_KNOWN, ending, methods
from tests.support.secure_control_plane import Secure, asking, node, secure, stream
from tests.support.waiting import at_most

pytestmark = pytest.mark.asyncio(loop_scope="module")
WHO = Identity("cluster.local", "default", "client")
REGISTERED: list[set[str]] = []  # by server, in the order in which they were opened
Answer = Callable[..., Awaitable[object]] | Callable[..., object]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secure]:
    folder = tmp_path_factory.mktemp("deny") / "manifests"
    folder.mkdir()
    make = grpc.aio.server
    REGISTERED.clear()

    with pytest.MonkeyPatch.context() as patch:

        def recorded(options: tuple[tuple[str, int], ...]) -> grpc.aio.Server:
            made, found = make(options=options), set[str]()
            add = made.add_generic_rpc_handlers
            REGISTERED.append(found)

            def adding(handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
                for handler in handlers:
                    found.update(vars(handler)["_method_handlers"])  # the only way to ask a handler for its methods
                add(handlers)

            patch.setattr(made, "add_generic_rpc_handlers", adding)
            return made

        patch.setattr(grpc.aio, "server", recorded)
        async with secure(folder) as plane:
            yield plane


async def test_t20_every_method_that_is_registered_is_one_that_the_tests_go_through(plane: Secure) -> None:
    assert [set(methods()) - set(OF_THE_KNOWN), set(methods()), set(methods())] == REGISTERED  # in the clear, by token, by certificate


@pytest.mark.parametrize("kind", [PlaintextAuthenticator, TokenAuthenticator, CertificateAuthenticator])
async def test_there_is_one_way_to_know_each_address(kind: type[authenticators.Authenticator]) -> None:
    assert kind.secure is (kind is not PlaintextAuthenticator)
    assert [each for each in vars(authenticators).values() if isinstance(each, type) and hasattr(each, "caller")] == [
        authenticators.Authenticator,
        PlaintextAuthenticator,
        TokenAuthenticator,
        CertificateAuthenticator,
    ]


def credentials(plane: Secure, *, shown: bool) -> grpc.ChannelCredentials:
    """Return what trusts ``plane``, and shows a good certificate where one is to be ``shown``."""
    if not shown:
        return grpc.ssl_channel_credentials(plane.roots)
    stored = FileStore(plane.state).read_now()
    assert stored
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = load_state(stored).signing.signer
    chain = workload_certificate(issuer, WHO, key.public_key(), dt.datetime.now(dt.UTC), dt.timedelta(hours=1))
    return grpc.ssl_channel_credentials(plane.roots, key_pem(key), chain)


# What takes part in letting somebody in: where it is, and whether it is awaited.
CALLEES: dict[str, tuple[object, str, bool]] = {
    "the tokens' accounts": (LocalTokens, "subject", True),
    "the door of tokens": (TokenAuthenticator, "caller", True),
    "the door of certificates": (CertificateAuthenticator, "caller", True),
    "the parser of identities": (authenticators, "parse_identity", False),
    "the constructor of identities": (authenticators, "Identity", False),
    "the trust domain": (authenticators, "Caller", False),
    "the check of nodes": (nodes, "proxy_of", False),
}
ANSWERS: dict[str, object] = {
    "raises": RuntimeError("a bug"),
    "None": None,
    "empty": "",
    "true": True,
    "nobody": Caller(None),
    "an account of nobody": TokenSubject("", ""),
}
CERTIFIED = ("the door of certificates", "the parser of identities", "the trust domain", "the check of nodes")


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("callee", CALLEES)
async def test_t15_whatever_fails_on_the_way_in_lets_nobody_in(
    plane: Secure, monkeypatch: pytest.MonkeyPatch, callee: str, answer: str
) -> None:
    where, name, awaited = CALLEES[callee]
    monkeypatch.setattr(where, name, _answering(ANSWERS[answer], awaited=awaited))
    at = plane.running.at
    by_token = callee not in {"the door of certificates", "the parser of identities"}
    tries = [(at.xds_tls, False)] * by_token + [(at.xds_mtls, True)] * (callee in CERTIFIED)

    for address, shown in tries:
        assert address
        for method in _concerned(callee):
            async with stream(address, credentials(plane, shown=shown), token=plane.token(), method=method) as call:
                if callee == "the check of nodes":  # which is in the first request
                    await call.write(asking(SDS, node(), "default"))
                code, words = await ending(call, method)
                assert code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL}, (method, code, words)
                assert "bug" not in words


def _concerned(callee: str) -> list[str]:
    """Return the methods that ``callee`` takes part in: a node is told in the first request of a stream, which is a Delta one here."""
    return [each for each in methods() if callee != "the check of nodes" or "/Delta" in each]


def _answering(answer: object, *, awaited: bool) -> Answer:
    def now(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def later(*_: object) -> object:
        return now()

    return later if awaited else now


async def test_t20_in_the_clear_no_method_gives_a_secret(plane: Secure) -> None:
    names = ("default", "ROOTCA", "kubernetes://credential")
    for service in SERVICES:
        if service.only not in {None, SDS}:
            continue
        async with delta(plane.running.at.xds, f"/{service.name}/{service.delta}") as changes:
            await changes.write(asking(SDS, node(), *names))
            answer = await next_delta(changes, at_most(1.0))
            assert (list(answer.resources), sorted(answer.removed_resources)) == ([], sorted(names))
        async with sotw(plane.running.at.xds, f"/{service.name}/{service.sotw}") as states:
            request = sotw_request(SDS, names=names)
            request.node.CopyFrom(asking(SDS, node()).node)
            await states.write(request)
            with pytest.raises(TimeoutError):  # the state of the world cannot say that something is not there
                await next_sotw(states, 0.2)


def routes(app: FastAPI) -> dict[str, set[str]]:
    """Return the methods of each route of ``app``, of the routers that it includes too."""
    included = [each for outer in app.routes if (router := getattr(outer, "original_router", None)) for each in router.routes]
    own = [each for each in app.routes if not hasattr(each, "original_router")]
    return {str(getattr(each, "path", each)): set(getattr(each, "methods", None) or ()) for each in (*own, *included)}


async def test_t62_every_route_says_who_may_call_it_and_none_changes_anything() -> None:
    facts = AdminState(Mesh(), lambda _: iter(()), list, list, lambda: None, lambda: 0, dict)
    guard = admin_app(facts, ())._app
    assert isinstance(guard, HostCheck)
    admin, health = guard._app, health_app(facts)._app
    assert isinstance(admin, FastAPI)
    assert isinstance(health, FastAPI)

    assert set(routes(admin)) == set(ACCESS)
    assert set(routes(health)) == {path for path, access in ACCESS.items() if access is RouteAccess.ANYBODY}
    asking = {"/v1/plan", "/v1/standings", "/plan"}  # by a body, as what is asked about is long
    assert {path for path, methods in routes(admin).items() if not methods <= {"GET", "HEAD"}} == asking
    assert all(each <= {"GET", "HEAD"} for each in routes(health).values())


@pytest.mark.parametrize(("path", "caller"), [("/debug/profile", RouteAccess.OPERATOR), ("/v1/proxies", RouteAccess.ANYBODY)])
async def test_t62_a_route_is_not_served_to_those_it_is_not_listed_for(path: str, caller: RouteAccess) -> None:
    router = APIRouter()
    router.add_api_route(path, lambda: "")

    with pytest.raises(UnlistedRoute, match=path):
        include_routers(FastAPI(openapi_url=None, docs_url=None, redoc_url=None), caller, router)


async def test_t62_whoever_calls_the_admin_api_by_another_name_gets_nothing_from_any_route(plane: Secure) -> None:
    for path in ACCESS:
        concrete = path.replace("{proxy_id}", "a").replace("{kind}", "clusters").replace("{name:path}", "b")
        assert (await plane.running.get(concrete, Host="evil.example"))[0] == 421
        assert (await plane.running.get(concrete, Origin="http://evil.example"))[0] == 403
