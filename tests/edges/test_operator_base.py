"""What all commands for operators share: how they reach a control plane, and what they say when they cannot."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.cli import NAVARCH, navarch
from tests.support.control_plane import control_plane
from tests.support.manifests import service


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path.partition("/v1/")[0], (404, b'{"detail":"Not Found"}'))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def strange_server() -> Iterator[str]:
    _Handler.answers = {"/forbidden": (403, b'{"detail":"not for you"}'), "/html": (200, b"<html>"), "/object": (200, b"{}")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_the_problems_of_a_running_control_plane_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(service("bad", "'none'"))
    async with control_plane(tmp_path) as running:
        table = await asyncio.to_thread(navarch, "problems", "--admin", running.at.admin)
        rows = await asyncio.to_thread(navarch, "problems", "--admin", f"http://{running.at.admin}", "-o", "json", "-n", "shop")
        elsewhere = await asyncio.to_thread(navarch, "problems", "--admin", running.at.admin, "-n", "other", "-o", "yaml")

    assert table.returncode == 1
    assert table.stdout.split("\t")[:4] == [f"{tmp_path}/bad.yaml:8", "error", "Service/shop/bad", "spec.ports[0].port"]
    assert [row["object"] for row in json.loads(rows.stdout)] == ["Service/shop/bad"]
    assert (elsewhere.returncode, elsewhere.stdout) == (0, "[]\n")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/forbidden", 3, "does not let us in: not for you"),
        ("/html", 3, "expected JSON: is it the admin API of a Navarch?"),
        ("/object", 3, "expected a list of objects"),
        ("/nothing", 2, "does not know /v1/problems: is it the admin API of a Navarch, and of this version?"),
    ],
)
def test_what_is_no_admin_api_is_told_in_a_sentence(strange_server: str, path: str, status: int, said: str) -> None:
    found = navarch("problems", "--admin", strange_server + path)

    assert (found.returncode, found.stdout) == (status, "")
    assert said in found.stderr
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--admin", "127.0.0.1:1"), 3, "nothing listens at http://127.0.0.1:1"),
        (("--admin", "ftp://there"), 2, "--admin: expected a URL"),
        (("--admin", "http://h:99999"), 2, "--admin: expected a URL"),
        (("--admin", "127.0.0.1:1", "--context", "x"), 2, "expected either --admin, or --kubeconfig and --context"),
        (("--kubeconfig", "/nowhere"), 2, "the kubeconfig /nowhere cannot be used"),
    ],
)
def test_who_does_not_answer_is_told_in_a_sentence(options: tuple[str, ...], status: int, said: str) -> None:
    found = navarch("problems", *options)

    assert (found.returncode, found.stdout) == (status, "")
    assert said in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_command_that_is_not_there_is_answered_with_what_is_near() -> None:
    found = navarch("problem")

    assert found.returncode == 2
    assert "Did you mean 'problems'?" in found.stderr


def test_shells_complete_commands() -> None:
    typed = {"_NAVARCH_COMPLETE": "complete_bash", "COMP_WORDS": "navarch prob", "COMP_CWORD": "1"}

    found = subprocess.run(NAVARCH, env={**os.environ, **typed}, capture_output=True, text=True, check=False)

    assert found.stdout.split() == ["problems"]


def test_the_version_is_an_option_too() -> None:
    assert navarch("--version").stdout == navarch("version").stdout
