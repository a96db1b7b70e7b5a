"""A control plane that is told to end before it serves: it says so, and its status is 0."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.served_process import served
from tests.support.waiting import until

GRACE_S = 25.0  # of the 45 s that the manifests give: less than one request to the API server is waited for


class SilentServer:
    """Takes connections and answers nothing, as an API server that hangs."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        writer.close()


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[tuple[SilentServer, Path]]:
    server = SilentServer()
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    where = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": where, "insecure-skip-tls-verify": True}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig.json"
    path.write_text(json.dumps(content))
    yield server, path
    listening.close()


IDENTITY = ("--xds-tls", "127.0.0.1:0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", [(), IDENTITY], ids=["reading objects", "reading the authority"])
async def test_it_ends_with_a_word_while_the_api_server_hangs(
    tmp_path: Path, silent: tuple[SilentServer, Path], number: signal.Signals, options: tuple[str, ...]
) -> None:
    server, kubeconfig = silent
    async with served(tmp_path, "--kubernetes", "--kubeconfig", str(kubeconfig), *options) as process:
        await until(lambda: server.connections, watched=process)
        ended = await process.ended_by(number)

    print(f"ended after {ended.seconds:.1f} s")
    assert ended.status == 0
    assert "stopped" in ended.said
    assert "Traceback" not in ended.said
    assert ended.seconds < GRACE_S


async def test_it_ends_with_a_word_while_its_modules_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    for wait_s in (0.0, 0.2, 0.5, 1.0, 2.0):
        async with served(tmp_path, "--files", str(tmp_path / "manifests")) as process:
            await until(lambda: process.minds(signal.SIGTERM), watched=process)
            with contextlib.suppress(TimeoutError):  # what is tried are moments of its start
                await until(lambda: not process.alive, deadline_s=wait_s)
            ended = await process.ended_by()

        print(f"told to end after {wait_s} s: ended after {ended.seconds:.1f} s, status {ended.status}: {ended.said.splitlines()[-1:]}")
        assert ended.status == 0
        assert "stopped" in ended.said
        assert "Traceback" not in ended.said
