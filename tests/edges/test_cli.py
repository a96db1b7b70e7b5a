"""The command ``navarch``, as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.support.cli import NAVARCH, navarch
from tests.support.manifests import selecting, service, workload
from tests.support.waiting import DEADLINE_S, until, within

NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviews.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews')}")
    return tmp_path


def test_version_is_quick_and_help_has_examples() -> None:
    began = time.perf_counter()
    version = navarch("version")
    took = time.perf_counter() - began
    helps = [navarch(command, "--help") for command in ("serve", "translate", "validate", "inject", "demo", "version")]

    assert (version.returncode, version.stdout.startswith("navarch ")) == (0, True)
    assert took < within(3)  # a third of a second on an idle machine
    assert all(each.returncode == 0 and "navarch" in each.stdout and "For example:" in each.stdout for each in helps)


def test_version_loads_nothing_that_it_does_not_need() -> None:
    script = "import sys, controlplane.cli.main; print(sorted({'grpc', 'pydantic', 'fastapi', 'yaml', 'rich.table'} & set(sys.modules)))"

    found = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)

    assert found.stdout == "[]\n"


def test_validate_prints_rows_and_exits_1_for_an_error(folder: Path) -> None:
    (folder / "bad.yaml").write_text(service("bad", "'none'"))

    found = navarch("validate", "-f", str(folder), "-o", "json")
    [row] = json.loads(found.stdout)

    assert found.returncode == 1
    assert list(row) == ["object", "field", "severity", "code", "message", "file", "line"]
    assert (row["object"], row["field"], row["severity"]) == ("Service/shop/bad", "spec.ports[0].port", "error")
    assert (row["file"], row["line"]) == (str(folder / "bad.yaml"), 8)


def test_validate_of_what_is_right_exits_0(folder: Path) -> None:
    table, rows = navarch("validate", "-f", str(folder)), navarch("validate", "-f", str(folder), "-o", "json")

    assert (table.returncode, table.stdout) == (0, "no problems\n")
    assert (rows.returncode, json.loads(rows.stdout)) == (0, [])


def test_validate_looks_between_objects_and_prints_plain_lines_in_a_pipe(folder: Path) -> None:
    (folder / "route.yaml").write_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r, namespace: shop}\n"
        "spec:\n  hosts: [reviews]\n  http:\n  - route:\n    - destination:\n        host: nobody\n"
    )

    found = navarch("validate", "-f", str(folder))

    assert found.returncode == 0
    [line] = found.stdout.splitlines()
    assert line.split("\t")[:4] == [f"{folder}/route.yaml:9", "warning", "VirtualService/shop/r", "spec.http[0].route[0].destination.host"]


def test_manifests_come_from_files_folders_and_standard_input(folder: Path) -> None:
    odd = folder / "manifests.txt"
    odd.write_text(service("odd", 0))

    found = navarch("validate", "-f", str(folder), "-f", str(odd), "-f", "-", "-o", "json", text=service("piped", 0))

    assert [row["file"] for row in json.loads(found.stdout) if row["severity"] == "error"] == [str(odd), "standard input"]


def test_a_broken_document_is_told_and_the_others_are_read(folder: Path) -> None:
    found = navarch("validate", "-f", "-", "-o", "json", text=f"kind: [\n---\n{service('bad', 0)}")

    assert [(row["code"], row["line"]) for row in json.loads(found.stdout)] == [("Unreadable", 2), ("OutOfRange", 10)]


def test_translate_prints_everything_for_one_proxy(folder: Path) -> None:
    found = navarch("translate", "-f", str(folder), "--proxy", NODE, "-o", "json")
    everything = json.loads(found.stdout)

    assert found.returncode == 0
    assert list(everything) == ["listeners", "routes", "clusters", "endpoints", "secrets", "extensions", "problems"]
    assert "outbound|80||reviews.shop.svc.cluster.local" in [each["name"] for each in everything["clusters"]]
    assert [each["clusterName"] for each in everything["endpoints"]] == ["outbound|80||reviews.shop.svc.cluster.local"]
    assert "reviews.shop.svc.cluster.local:80" in [host["name"] for route in everything["routes"] for host in route["virtualHosts"]]
    assert "@type" in found.stdout


def test_translate_takes_metadata(folder: Path) -> None:
    found = navarch("translate", "-f", str(folder), "--proxy", NODE, "--metadata", '{"INTERCEPTION_MODE": "NONE"}', "-o", "json")

    assert found.returncode == 0
    assert "virtualOutbound" not in [each["name"] for each in json.loads(found.stdout)["listeners"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("translate", "-f", ".", "--proxy", "me"), "expected sidecar~IP"),
        (("translate", "-f", ".", "--proxy", NODE, "--metadata", "{"), "expected JSON"),
        (("translate", "-f", ".", "--proxy", NODE, "--metadata", "[]"), "expected a JSON object"),
        (("translate", "-f", ".", "--proxy", NODE, "--metadata", '{"LABELS": 1}'), "LABELS: expected an object of strings"),
        (("validate", "-f", "/nowhere/to/be/found"), "/nowhere/to/be/found: No such file"),
        (("validate",), "-f"),
        (("serve", "--files", "/nowhere/to/be/found"), "expected a folder"),
        (("serve", "--files", ".", "--xds", "15010"), "expected HOST:PORT"),
        (("serve", "--files", ".", "--admin", "localhost:70000"), "expected HOST:PORT"),
        (("serve", "--files", ".", "--xds", "127.0.0.1:0", "--admin", "192.0.2.1:0"), "navarch: "),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_what_cannot_be_is_told_without_a_traceback(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    found = subprocess.run(
        (*NAVARCH, *arguments),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )

    assert found.returncode == 2
    assert expected in found.stderr
    assert "Traceback" not in found.stderr


async def test_serve_says_where_it_listens_and_stops_when_told(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(
            *NAVARCH,
            "serve",
            "--files",
            str(folder),
            "--xds",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "-o",
            "json",
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    try:
        async with asyncio.timeout(DEADLINE_S):
            addresses = json.loads(await process.stdout.readline())
            await until(partial(asyncio.to_thread, _is_ready, f"http://{addresses['admin']}/readyz"))
            process.send_signal(signal.SIGTERM)
            logs = [json.loads(line) for line in (await process.stderr.read()).splitlines()]
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert status == 0
    assert list(addresses) == ["xds", "admin"]
    assert {"synced", "stopping", "stopped"} <= {each["event"] for each in logs}
    assert next(each for each in logs if each["event"] == "synced")["objects"] == 2


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S):
            return True
    except urllib.error.HTTPError:
        return False


def test_inject_prints_every_document_and_says_on_the_side_what_it_did() -> None:
    text = "kind: Service\napiVersion: v1\n---\n"
    text += "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web}]}\n"

    found = navarch("inject", "-f", "-", text=text)
    refused = navarch("inject", "-f", "-", "--namespace-label", "a", text=text)
    bad = navarch("inject", "-f", "-", text=text.replace("spec: {containers: [{name: web", "spec: {containers: [{name: 7"))

    assert (found.returncode, found.stderr) == (0, "Pod default/web: a proxy is put in\n")
    assert found.stdout.startswith("---\nkind: Service\napiVersion: v1\n---\n")
    assert "name: istio-proxy" in found.stdout
    assert (refused.returncode, "expected KEY=VALUE" in refused.stderr) == (2, True)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("standard input:4: Pod default/web: spec.containers[0].name: expected a name")


def test_inject_reads_the_operators_settings_and_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    settings = tmp_path / "injection.yaml"
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec: {containers: [{name: web, image: web}]}\n"
    settings.write_text("proxyImage: registry.example.com/envoy:1\nneverInject: [app=web]\n")
    never = navarch("inject", "-f", "-", "--injection", str(settings), text=pod)
    settings.write_text("proxyImage: 'a b'\nother: 1\n")
    wrong = navarch("inject", "-f", "-", "--injection", str(settings), text=pod)

    assert (never.returncode, never.stderr) == (0, "Pod default/web: no proxy: it is one of those that get none\n")
    assert wrong.returncode == 2
    assert all(each in wrong.stderr.replace("\n", " ") for each in ("proxyImage", "other"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--files", ".", "--replica"), "--replica go with --kubernetes"),
        (("--kubernetes", "--webhook", "127.0.0.1:0"), "--webhook goes with --replica"),
        (("--kubernetes", "--replica"), "expected the name of a pod in POD_NAME"),
    ],
)
def test_who_is_a_replica_is_said_in_full(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str) -> None:
    monkeypatch.setenv("POD_NAME", "Laptop_1")

    found = navarch("serve", *arguments)

    assert found.returncode == 2
    assert expected in " ".join(found.stderr.replace("│", " ").split())
    assert "Traceback" not in found.stderr


def test_ratelimit_config_prints_the_files_of_the_rate_limit_service_and_writes_them(tmp_path: Path) -> None:
    manifests = tmp_path / "limits.yaml"
    rule = {"name": "users", "perValue": {"header": "x-user"}, "limit": {"requests": 5, "per": "1m"}}
    spec = {"rules": [rule], "global": {"service": {"host": "ratelimit", "port": 8081}}}
    metadata = {"name": "web", "namespace": "shop"}
    limit = {"apiVersion": "navarch.dev/v1alpha1", "kind": "RateLimit", "metadata": metadata, "spec": spec}
    manifests.write_text(f"{service('ratelimit', 8081)}---\n{json.dumps(limit)}")

    printed = navarch("ratelimit-config", "-f", str(manifests))
    written = navarch("ratelimit-config", "-f", str(manifests), "--output", str(tmp_path / "config"))

    assert (printed.returncode, written.returncode) == (0, 0)
    assert "RateLimit/shop/web spec.global.service.port" in printed.stderr  # which is not said to be gRPC
    assert "unit: minute" in printed.stdout
    assert (tmp_path / "config" / "shop_web.yaml").read_text() == printed.stdout
