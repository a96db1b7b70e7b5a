"""A control plane that gives identities, and clients that have them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.json_format import MessageToDict, ParseDict

from controlplane.app.control_plane import Addresses, ControlPlane
from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.ca.file_store import FileStore
from controlplane.ca.rotation import load_state, read_key
from controlplane.ca.tokens import sign_token
from controlplane.serve.identity import now
from controlplane.settings import IdentitySettings, ReportSettings, Settings
from tests.support.control_plane import ADS, BUILD, DeltaCall, DeltaMethod, Running
from tests.support.waiting import DEADLINE_S, until

ANYWHERE = "127.0.0.1:0"
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Secure:
    """A control plane, and the folder that its authority is in."""

    running: Running
    state: Path

    def token(self, namespace: str = "default", account: str = "client", *, audience: str = "istio-ca") -> str:
        """Return a token of the account."""
        stored = FileStore(self.state, SIGNING_KEY_FILE).read_now()
        assert stored
        return sign_token(read_key(stored), (namespace, account), audience, now(), HOUR)

    @property
    def roots(self) -> bytes:
        """Return the roots that are trusted now."""
        stored = FileStore(self.state).read_now()
        assert stored
        return load_state(stored).bundle


@contextlib.asynccontextmanager
async def secure(folder: Path, *, leaf_s: float = 86_400.0, age_s: float = 1800.0, load_interval_s: float = 10.0) -> AsyncIterator[Secure]:
    """Serve ``folder``, with identities, until the block ends."""
    state = folder.parent / f"{folder.name}-state"
    identity = IdentitySettings(state=str(state), xds_tls=ANYWHERE, xds_mtls=ANYWHERE, leaf_lifetime_s=leaf_s, connection_age_s=age_s)
    reports = ReportSettings(load_interval_s=load_interval_s)
    settings = Settings(
        files=(str(folder),), identity=identity, reports=reports, xds=ANYWHERE, admin=ANYWHERE, health=ANYWHERE, grace_s=0.5
    )
    plane, stop = ControlPlane(settings), asyncio.Event()
    open_at: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(plane.run(stop, open_at.set_result))
    await asyncio.wait((task, open_at), return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    try:
        running = Running(plane, open_at.result(), stop, task)
        await until(running.ready)
        yield Secure(running, state)
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await task


@contextlib.asynccontextmanager
async def stream(
    address: str, credentials: grpc.ChannelCredentials, *, token: str | None = None, method: str = f"{ADS}/DeltaAggregatedResources"
) -> AsyncIterator[DeltaCall]:
    """Open a Delta stream to ``address`` by TLS, on a connection of its own, with ``token`` where one is given."""
    options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        opened: DeltaMethod = channel.stream_stream(
            method, request_serializer=DeltaDiscoveryRequest.SerializeToString, response_deserializer=DeltaDiscoveryResponse.FromString
        )
        call = opened(metadata=(("authorization", f"Bearer {token}"),) if token else None)
        yield call
        call.cancel()


def node(namespace: str = "default", account: str = "client", **more: str) -> dict[str, object]:
    """Return the node of a proxy of the account, as JSON."""
    metadata = {"NAMESPACE": namespace, "SERVICE_ACCOUNT": account, "INTERCEPTION_MODE": "NONE", **more}
    node_id = f"sidecar~10.0.0.1~client.{namespace}~{namespace}.svc.cluster.local"
    return {"id": node_id, "metadata": metadata, "userAgentBuildVersion": MessageToDict(BUILD)}


def asking(type_url: str, who: dict[str, object] | None = None, *names: str, nonce: str = "") -> DeltaDiscoveryRequest:
    """Return a request for ``names``, which introduces ``who``."""
    request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, response_nonce=nonce)
    if who is not None:
        ParseDict(json.loads(json.dumps(who)), request.node)
    return request
