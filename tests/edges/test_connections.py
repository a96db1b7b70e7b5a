"""How long somebody is believed who has come in once: not for longer than their root is, nor than a connection may be old."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import key_pem, workload_certificate
from controlplane.ca.file_store import FileStore
from controlplane.ca.manager import AuthorityManager
from controlplane.ca.rotation import activate, new_issuer, prepare, retire
from controlplane.envoy.type_urls import SDS
from controlplane.model.identity import Identity
from controlplane.serve.identity import make_key, now
from tests.support.control_plane import next_delta, status_of
from tests.support.secure_control_plane import Secure, asking, node, secure, stream
from tests.support.waiting import DEADLINE_S, until, within

WHO = Identity("cluster.local", "default", "client")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")  # and empty settings
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


async def opened(plane: Secure) -> AuthorityManager:
    """Return the authority of ``plane``, as its operator has it."""
    keeper = AuthorityManager(FileStore(plane.state), make_key, now)
    await keeper.open()
    return keeper


async def own(plane: Secure) -> tuple[bytes, bytes]:
    """Return a key and a certificate by who signs now."""
    key, keeper = ec.generate_private_key(ec.SECP256R1()), await opened(plane)
    return key_pem(key), workload_certificate(keeper.state.signing.signer, WHO, key.public_key(), now(), dt.timedelta(hours=1))


async def rotated(plane: Secure) -> None:
    """Let another root follow in all phases, whoever still has something of the old one."""
    keeper = await opened(plane)
    for step in (
        lambda state: prepare(state, new_issuer(make_key(), now())),
        lambda state: activate(state, 0),
        lambda state: retire(state, 0),
    ):
        await keeper.step(step)


class Client:
    """A client that keeps the session of its last connection."""

    def __init__(self, plane: Secure, folder: Path, pair: tuple[bytes, bytes], version: ssl.TLSVersion) -> None:
        assert plane.running.at.xds_mtls
        host, _, port = plane.running.at.xds_mtls.rpartition(":")
        self._where = (host, int(port))
        (folder / "pair.pem").write_bytes(b"".join(pair))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.minimum_version = self._context.maximum_version = version
        self._context.set_alpn_protocols(["h2"])
        self._context.load_cert_chain(folder / "pair.pem")
        self._session: ssl.SSLSession | None = None
        self.resumed = False

    def let_in(self) -> bool:
        """Return whether the server says anything once it has seen who connects, by the session before where there is one."""
        with socket.create_connection(self._where, timeout=DEADLINE_S) as plain:
            try:
                with self._context.wrap_socket(plain, session=self._session) as found:
                    self.resumed = bool(found.session_reused)
                    found.sendall(PREFACE)
                    answer = found.recv(9)
                    self._session = found.session
                    return bool(answer)
            except (ssl.SSLError, ConnectionError):
                return False


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_t16_a_session_of_a_root_that_is_gone_is_not_taken_up_again(folder: Path, version: ssl.TLSVersion) -> None:
    async with secure(folder) as plane:
        client = Client(plane, folder.parent, await own(plane), version)
        before = [await asyncio.to_thread(client.let_in) for _ in range(2)]
        print(f"{version.name}: resumed before: {client.resumed}")
        await rotated(plane)

        async def refused() -> bool:
            return not await asyncio.to_thread(client.let_in)

        await until(refused)  # the state is looked at once a second
        after = [await asyncio.to_thread(client.let_in) for _ in range(3)]

        fresh = Client(plane, folder.parent, await own(plane), version)
        assert await asyncio.to_thread(fresh.let_in)
    assert (before, after) == ([True, True], [False] * 3)


async def test_t16_a_stream_ends_when_its_connection_is_too_old_and_a_root_that_is_gone_does_not_come_back(folder: Path) -> None:
    async with secure(folder, age_s=3) as plane:
        assert plane.running.at.xds_mtls
        key, chain = await own(plane)
        old = grpc.ssl_channel_credentials(plane.roots, key, chain)
        began = time.monotonic()
        async with stream(plane.running.at.xds_mtls, old) as call:
            await call.write(asking(SDS, node(), "ROOTCA"))
            first = await next_delta(call)
            await call.write(asking(SDS, nonce=first.nonce))
            await rotated(plane)
            assert (await next_delta(call)).resources[0].name == "ROOTCA"  # on the connection that was there before
            ended = await status_of(call)
            took = time.monotonic() - began
        async with stream(plane.running.at.xds_mtls, grpc.ssl_channel_credentials(plane.roots, key, chain)) as again:
            refused = await status_of(again)

    print(f"cut after {took:.1f} s of at most {3 * 1.1 + 3:.1f} s: {ended}")
    assert took <= 3 * 1.1 + 3 + within(2)
    assert ended[0] is not grpc.StatusCode.UNAUTHENTICATED
    assert refused[0] is grpc.StatusCode.UNAVAILABLE
    assert refused[1] != ended[1]
