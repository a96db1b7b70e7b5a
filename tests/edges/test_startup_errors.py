"""What keeps navarch serve from starting names its flag, its path; what goes wrong beside it is told once, through the log."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import NAVARCH, navarch
from tests.support.fakes.kube_api import FakeApi
from tests.support.waiting import DEADLINE_S, wait_until

Json = dict[str, object]
ANYWHERE = ("--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return folder


@pytest.fixture
def taken() -> Iterator[str]:
    """Return an address that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """Return an API server that has no namespace navarch-system."""
    server = FakeApi(tmp_path / "api")
    yield server
    server.stop()


class Serving:
    """A control plane, and the lines of its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        assert process.stdout
        self.addresses: Json = json.loads(process.stdout.readline())

    def lines(self) -> list[Json]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def events(self, event: str) -> list[Json]:
        return [line for line in self.lines() if line["event"] == event]


@contextmanager
def serving(tmp_path: Path, *options: str) -> Iterator[Serving]:
    """Run a control plane for as long as the block lasts; its standard error, whoever writes there, goes into a file."""
    log = tmp_path / "serve.log"
    command = (*NAVARCH, "serve", *ANYWHERE, *options, "--log-format", "json", "-o", "json")
    with log.open("wb") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file) as process:
        try:
            yield Serving(process, log)
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.parametrize("option", ["--xds", "--xds-tls", "--xds-mtls", "--admin", "--health"])
def test_a_port_that_is_taken_names_its_flag(tmp_path: Path, manifests: Path, taken: str, option: str) -> None:
    found = navarch("serve", "--files", str(manifests), "--state", str(tmp_path / "state"), *ANYWHERE, option, taken)

    assert found.returncode == 2
    assert found.stderr.splitlines()[-1] == f"navarch: {option}: cannot listen at {taken}: Address already in use"
    assert "Traceback" not in found.stderr


def test_a_port_of_the_webhook_that_is_taken_names_its_flag(api: FakeApi, taken: str) -> None:
    found = navarch("serve", "--kubernetes", "--replica", "--kubeconfig", str(api.kubeconfig()), *ANYWHERE, "--webhook", taken)

    assert found.returncode == 2
    assert found.stderr.splitlines()[-1] == f"navarch: --webhook: cannot listen at {taken}: Address already in use"


@pytest.mark.parametrize(
    "command",
    [
        "serve --files {manifests} --xds 127.0.0.1:0 --admin 127.0.0.1:0 --xds-tls 127.0.0.1:0 --state {state}",
        "bootstrap --xds 127.0.0.1:15010 --ip 10.0.0.1 --out {state}",
        "crds --output {state}",
    ],
    ids=lambda command: command.split()[0],
)
def test_a_full_disk_names_its_path(tmp_path: Path, manifests: Path, command: str) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("not run: a file system of one page needs root and unshare")
    state = tmp_path / "state"
    state.mkdir()
    words = shlex.join((*NAVARCH, *command.format(manifests=manifests, state=state).split()))
    script = f"mount -t tmpfs -o size=4096,mode=700 full {state} && head -c 4096 /dev/zero > {state}/filling; exec {words}"

    found = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    assert found.returncode == 2, found.stderr
    said = found.stderr.splitlines()[-1]
    assert said.startswith(f"navarch: {state}/")
    assert said.endswith("No space left on device")
    assert "Traceback" not in found.stderr


def test_an_output_that_takes_nothing_is_told_in_one_line(manifests: Path) -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run((*NAVARCH, "crds"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=False)

    assert found.returncode == 2
    assert found.stderr == "navarch: standard output: No space left on device\n"


def test_lines_of_the_core_come_through_the_log_of_a_process(tmp_path: Path, manifests: Path) -> None:
    options = ("--files", str(manifests), "--xds-tls", "127.0.0.1:0", "--state", str(tmp_path / "state"))
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    anyone.set_alpn_protocols(["h2"])
    event = "a TLS client asks for a name that our certificate lacks"

    with serving(tmp_path, *options) as server:
        host, _, port = str(server.addresses["xds_tls"]).rpartition(":")
        for _ in range(2):
            with (
                socket.create_connection((host, int(port)), DEADLINE_S) as connection,
                anyone.wrap_socket(connection, server_hostname="mesh.example"),
            ):
                pass
        wait_until(lambda: server.events(event), "the name is told")

    assert [each["server_name"] for each in server.events(event)] == ["mesh.example"]
    assert all(line["event"] for line in server.lines())  # whatever is in the file is a line of our log


def test_a_namespace_of_the_control_plane_that_is_missing_is_told_with_what_to_do(tmp_path: Path, api: FakeApi) -> None:
    event = "the namespace of the control plane is not there"

    with serving(tmp_path, "--kubernetes", "--replica", "--kubeconfig", str(api.kubeconfig())) as server:
        wait_until(lambda: server.events(event), "the namespace is told")

    [told] = server.events(event)
    assert told["namespace"] == "navarch-system"
    assert "kubectl create namespace navarch-system" in str(told["advice"])
