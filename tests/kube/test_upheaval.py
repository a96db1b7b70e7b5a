"""What a mesh of injected pods survives, at 200 requests a second: each loses no request, but those that a killed Envoy had in hand."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from controlplane.untyped import Json
from tests.support import pod_mesh as sidecars
from tests.support import web_workload as web
from tests.support.pod_mesh import HOME, SHOP, Mesh
from tests.support.waiting import wait_until

RATE = 200.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with sidecars.mesh(tmp_path_factory.mktemp("upheaval")) as made:
        web.begin(made)
        yield made


def under_load(mesh: Mesh, upheaval: Callable[[], None]) -> Json:
    """Return what came of the requests while ``upheaval`` happened, and a little before and after."""
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(mesh.load, web.URL, RATE)
        time.sleep(1.0)
        began = time.monotonic()
        try:
            upheaval()
            time.sleep(1.0)
        finally:
            mesh.enough()
        found = load.result()
    print(f"{upheaval.__name__}: {time.monotonic() - began:.0f} s, {found['outcomes']}")
    return found


def test_a_rolling_restart_fails_no_request(mesh: Mesh) -> None:
    def rolling_restart() -> None:
        for number in (1, 2, 3):
            web.replace(mesh, f"web-{number}", f"web-{number + 3}")

    found = under_load(mesh, rolling_restart)

    assert list(web.outcomes(found)) == ["200"], web.failures(found)
    assert web.outcomes(found)["200"] > RATE * 10


def test_a_control_plane_that_is_killed_for_30_seconds_fails_no_request(mesh: Mesh) -> None:
    def killed_control_plane() -> None:
        mesh.kill_plane()
        time.sleep(30)
        mesh.start_plane()

    found = under_load(mesh, killed_control_plane)

    assert list(web.outcomes(found)) == ["200"], web.failures(found)


def test_rotated_tokens_fail_no_request(mesh: Mesh) -> None:
    def rotated_tokens() -> None:
        for pod in list(mesh.kubelet.pods.values()):
            pod.renew_token()
        time.sleep(2)
        mesh.kill_plane()  # so that every Envoy has to show its token
        mesh.start_plane()
        wait_until(lambda: mesh.connected() == set(mesh.pods()), "all are connected again")

    found = under_load(mesh, rotated_tokens)

    assert list(web.outcomes(found)) == ["200"], web.failures(found)


def test_a_rotated_root_fails_no_request(mesh: Mesh) -> None:
    before = mesh.roots("client")

    def rotated_root() -> None:
        for step in ("prepare", "activate", "retire"):
            wait_until(partial(_ca, mesh, step), f"{step} is done")

    found = under_load(mesh, rotated_root)

    assert list(web.outcomes(found)) == ["200"], web.failures(found)
    assert before
    assert not mesh.roots("client") & before


def _ca(mesh: Mesh, step: str) -> bool:
    where = ["--kubeconfig", str(mesh.cluster.kubeconfig()), "--namespace", HOME]
    if step != "prepare":
        where += ["--admin", sidecars.ADMIN]
    done = subprocess.run([sys.executable, "-m", "controlplane.cli.main", "ca", step, *where], capture_output=True, text=True, check=False)
    return done.returncode == 0


def test_of_a_killed_envoy_only_what_it_had_in_hand_fails(mesh: Mesh) -> None:
    victim = next(name for namespace, name in mesh.kubelet.pods if namespace == SHOP and name.startswith("web-"))

    def killed_envoy() -> None:
        pod = mesh.kubelet.pod(SHOP, victim)
        pod.crash("istio-proxy")
        wait_until(lambda: pod.restarts.get("istio-proxy"), "it is started again")
        mesh.until_ready(victim)

    found = under_load(mesh, killed_envoy)

    failed = {name: count for name, count in web.outcomes(found).items() if name != "200"}
    assert sum(failed.values()) <= RATE * 0.1, web.failures(found)
