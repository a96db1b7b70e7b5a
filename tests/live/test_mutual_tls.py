"""Mutual TLS between real Envoys with no agent beside them: who is let in, who is seen, and that a change of mode fails no request."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import key_pem, workload_certificate
from controlplane.ca.file_store import FileStore as Stored
from controlplane.ca.rotation import AuthorityState, load_state
from controlplane.model.identity import Identity
from tests.support.envoys import (
    HOSTS,
    LISTENERS,
    REVIEWS,
    SERVICE_PORT,
    CredentialFiles,
    DemoMesh,
    peer_authentication_manifest,
    rule,
    running,
    to,
    traffic,
)
from tests.support.envoys import FolderStore as Folder
from tests.support.processes import NotReady
from tests.support.waiting import DEADLINE_S, until

# The namespace's own mode, for all workloads, is another: this is of reviews alone, and of one port.
BY_PORT = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: reviews}
spec: {selector: {matchLabels: {app: reviews}}, portLevelMtls: {%d: {mode: %s}}}
"""
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    async with running(tmp_path_factory.mktemp("mtls"), secure=True) as started:
        await started.accepted(started.route("reviews", [rule(to("reviews", "v1"))]), HOSTS)
        yield started


def state(world: DemoMesh) -> AuthorityState:
    assert isinstance(world.store, Folder)
    stored = Stored(world.store.state).read_now()
    assert stored
    return load_state(stored)


def shown(world: DemoMesh, folder: Path, who: Identity | None) -> ssl.SSLContext:
    """Return what a client uses that shows a certificate of ``who`` by the mesh's own authority, or none."""
    context = ssl.create_default_context(cadata=state(world).bundle.decode())
    context.check_hostname = False  # the server's name is a URI
    context.set_alpn_protocols(["istio-http/1.1", "istio"])
    if who:
        key = ec.generate_private_key(ec.SECP256R1())
        chain = workload_certificate(state(world).signing.signer, who, key.public_key(), dt.datetime.now(dt.UTC), dt.timedelta(hours=1))
        (folder / "own.pem").write_bytes(chain + key_pem(key))
        context.load_cert_chain(folder / "own.pem")
    return context


def believing(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return ``context`` as one that believes any server: what it shows alone is what is refused, if anything is."""
    context.verify_mode = ssl.CERT_NONE
    return context


async def answered(world: DemoMesh, verify: ssl.SSLContext | None = None) -> bool:
    """Return whether reviews answers somebody outside of the mesh, who speaks TLS where there is a ``verify``."""
    where = (world.instances["reviews-v1"].ip, SERVICE_PORT)
    writer = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(*where, ssl=verify, server_hostname="reviews" if verify else None)
            writer.write(b"GET /reviews/0 HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        if writer is not None:
            writer.transport.abort()


class Remembering:
    """A client that takes the TLS session of its last connection up again, as applications with a cache of sessions do."""

    def __init__(self, world: DemoMesh, context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
        self._where = (world.instances["reviews-v1"].ip, SERVICE_PORT)
        self._context = context
        context.minimum_version = context.maximum_version = version
        self._session: ssl.SSLSession | None = None

    async def answered(self) -> bool:
        """Return whether reviews answers."""
        return await asyncio.to_thread(self._answered)

    def _answered(self) -> bool:
        with socket.create_connection(self._where, timeout=DEADLINE_S) as plain:
            try:
                with self._context.wrap_socket(plain, server_hostname="reviews", session=self._session) as opened:
                    opened.sendall(b"GET /reviews/0 HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n")
                    answer = opened.recv(12)
                    self._session = opened.session
                    return answer == b"HTTP/1.1 200"
            except (ssl.SSLError, ConnectionError):
                return False


async def mode(world: DemoMesh, wanted: str) -> None:
    assert isinstance(world.store, Folder)
    file = world.store.folder / "peers.yaml"
    if not file.exists() or file.read_text() != peer_authentication_manifest(wanted):
        await world.accepted(world.store.save("peers", peer_authentication_manifest(wanted)), LISTENERS)


async def test_the_peer_is_seen_by_its_identity_and_cannot_say_another(world: DemoMesh) -> None:
    called = world.instances["reviews-v1"]
    called.callers.clear()

    tally = await world.caller.many(REVIEWS, 20, {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/default/sa/admin"})

    assert tally.failed == 0
    assert called.callers == {"spiffe://cluster.local/ns/default/sa/productpage": 20}


async def test_permissive_takes_both_and_strict_refuses_plaintext_with_no_request_failed_on_the_way(
    world: DemoMesh, tmp_path: Path
) -> None:
    known = shown(world, tmp_path, Identity("cluster.local", "default", "somebody"))
    assert [await answered(world), await answered(world, known)] == [True, True]
    async with traffic(world, REVIEWS, per_second=150) as tally:
        for wanted in ("STRICT", "PERMISSIVE", "STRICT", "PERMISSIVE", "STRICT"):
            await mode(world, wanted)
            before = tally.total

            async def more(before: int = before) -> bool:
                return tally.total >= before + 40

            await until(more, "more requests")
        assert [await answered(world), await answered(world, known)] == [False, True]

    print(f"{tally.total} requests through five changes of mode, {tally.failed} failed")
    assert (tally.failed, tally.errors) == (0, [])


async def test_certificates_of_nobody_or_of_another_trust_domain_are_refused(world: DemoMesh, tmp_path: Path) -> None:
    await mode(world, "STRICT")
    good = shown(world, tmp_path, Identity("cluster.local", "default", "somebody"))
    foreign = shown(world, tmp_path, Identity("cluster.local.evil", "default", "somebody"))
    nobody = shown(world, tmp_path, None)

    assert [await answered(world, each) for each in (good, foreign, nobody)] == [True, False, False]


async def test_disable_is_plaintext_alone_and_the_mesh_goes_along(world: DemoMesh, tmp_path: Path) -> None:
    called = world.instances["reviews-v1"]
    known = shown(world, tmp_path, Identity("cluster.local", "default", "somebody"))
    await mode(world, "DISABLE")

    async def plain() -> bool:
        called.callers.clear()
        tally = await world.caller.many(REVIEWS, 10)
        return tally.failed == 0 and set(called.callers) == {""}

    await until(plain, "the mesh speaks plaintext")
    assert [await answered(world), await answered(world, known)] == [True, False]
    await mode(world, "PERMISSIVE")


async def test_modes_by_port_count_before_those_of_the_workload(world: DemoMesh, tmp_path: Path) -> None:
    assert isinstance(world.store, Folder)
    known = shown(world, tmp_path, Identity("cluster.local", "default", "somebody"))
    comes_to = {"PERMISSIVE": [True, True], "STRICT": [False, True], "DISABLE": [True, False]}

    async def holds(mode: str) -> bool:
        return [await answered(world), await answered(world, known)] == comes_to[mode]

    for general, of_port in (("PERMISSIVE", "STRICT"), ("STRICT", "PERMISSIVE"), ("STRICT", "DISABLE")):
        await mode(world, general)
        await world.store.save("ports", BY_PORT % (SERVICE_PORT, of_port))
        await until(partial(holds, of_port), f"the port is {of_port}")
        await world.store.save("ports", "")
        await until(partial(holds, general), f"the port is as all are: {general}")


async def test_s30_the_root_is_rotated_with_a_new_key_under_load_and_nobody_notices(world: DemoMesh, tmp_path: Path) -> None:
    assert isinstance(world.store, Folder)
    somebody = Identity("cluster.local", "default", "somebody")
    old = believing(shown(world, tmp_path, somebody))
    sessions = [
        Remembering(world, believing(shown(world, tmp_path, somebody)), each) for each in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    ]
    before = state(world).signing.fingerprint
    await mode(world, "STRICT")
    with pytest.raises(NotReady, match="expected a root that is prepared"):
        await phase(world, "activate")
    async with traffic(world, REVIEWS, per_second=150) as tally:
        for step in ("prepare", "activate", "retire"):
            await until(partial(_due, world, step), f"{step} is due")
            await phase(world, step)
            await asyncio.gather(*(_fresh(world, name) for name in world.envoys))
            if step != "retire":
                assert [await each.answered() for each in sessions] == [True, True], step
            seen = tally.total

            async def more(seen: int = seen) -> bool:
                return tally.total >= seen + 60

            await until(more, "more requests")

    async def refused() -> bool:
        return not await answered(world, old)

    await until(refused, "the old root is refused")
    assert [await each.answered() for each in sessions] == [False, False]  # not by a session of before either
    print(f"{tally.total} requests through the rotation, {tally.failed} failed")
    assert (tally.failed, tally.errors) == (0, [])
    assert state(world).signing.fingerprint != before
    assert len(state(world).issuers) == 1


async def phase(world: DemoMesh, step: str) -> None:
    """Take the rotation one phase further, as its operator does. Raises NotReady with what the command says."""
    assert isinstance(world.store, Folder)
    asked = [] if step == "prepare" else ["--admin", world.planes["navarch"].replica.admin]
    await navarch("ca", step, "--state", str(world.store.state), *asked)


async def navarch(*arguments: str) -> str:
    """Return what the command ``navarch`` prints. Raises NotReady with what it complains about."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controlplane.cli.main", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaint = await process.communicate()
    if process.returncode:
        raise NotReady(complaint.decode())
    return said.decode()


async def _due(world: DemoMesh, step: str) -> bool:
    found = await world.planes["navarch"].one("/v1/identity")
    waiting = found["waitingFor"]
    assert isinstance(waiting, dict)
    stored = found["bundle"] == state(world).bundle_id and found["phase"] == state(world).phase
    return stored and (step == "prepare" or waiting["bundle" if step == "activate" else "certificate"] == 0)


async def _fresh(world: DemoMesh, name: str) -> None:
    """Give the Envoy ``name`` the roots as they are now, as the ConfigMap of its namespace would."""
    held = CredentialFiles(world.folder / f"{name}-credentials")
    held.write(token=held.token.read_text(), roots=await world.store.roots())
