"""What injection tells Envoy is accepted by a real one: the arguments of every golden pod, with the values that a kubelet puts in."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from controlplane.inject.inject import Injected
from controlplane.untyped import Json, items, section, text
from tests.support.envoy_versions import VERSIONS, complaints, envoy_of
from tests.support.inject_cases import Case, cases, named
from tests.support.proofs import ends

VALUES = {
    "metadata.name": "web-5d9f-x7",
    "metadata.namespace": "shop",
    "spec.nodeName": "node-1",
    "spec.serviceAccountName": "web",
    "status.hostIP": "10.0.0.1",
    "status.podIP": "10.1.0.7",
    "status.podIPs": "10.1.0.7,fd00::7",
}
_PUT_IN = re.compile(r"\$\$|\$\((\w+)\)")


def arguments(pod: Json, folder: Path) -> tuple[str, ...]:
    """Return the arguments of the proxy of ``pod`` as a kubelet would start it, with its volumes below ``folder``."""
    container = named(pod, "istio-proxy")
    variables = {text(each, "name"): text(section(section(each, "valueFrom"), "fieldRef"), "fieldPath") for each in items(container, "env")}
    given = container["args"]
    assert isinstance(given, list)
    expanded = (_PUT_IN.sub(lambda found: VALUES[variables[found[1]]] if found[1] else "$", str(each)) for each in given)
    return tuple(each.replace("/etc/istio/pod/", f"{folder}/").replace("/var/run/secrets/", f"{folder}/") for each in expanded)


async def refusal(envoy: str, told: tuple[str, ...]) -> str:
    """Return what ``envoy`` has against the arguments ``told``."""
    command = (envoy, *told, "--mode", "validate")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said = (await process.communicate())[0].decode()
    return said[-2000:] if process.returncode or complaints(said) else ""


@pytest.mark.parametrize("version", ends(VERSIONS))
async def test_an_envoy_takes_the_arguments_of_every_injected_pod(tmp_path: Path, version: str) -> None:
    envoy = envoy_of(version)
    by_arguments: dict[tuple[str, ...], Case] = {}
    for case in cases():
        outcome = case.outcome
        if isinstance(outcome, Injected):
            folder = tmp_path / case.name
            by_arguments.setdefault(tuple(each.replace(case.name, "") for each in arguments(outcome.pod, folder)), case)
    for case in by_arguments.values():
        outcome = case.outcome
        assert isinstance(outcome, Injected)
        folder = tmp_path / case.name
        for name, content in section(section(outcome.pod, "metadata"), "annotations").items():
            if name.startswith("secrets.navarch.io/"):
                write(folder / name.partition("/")[2], str(content).replace("/var/run/secrets/", f"{folder}/"))
        write(folder / "tokens" / "istio-token", "token")
        (folder / "istio").mkdir()

        refused = await refusal(envoy, arguments(outcome.pod, folder))

        assert refused == "", case.name
    print(f"Envoy {version}: {len(by_arguments)} different arguments, all accepted")


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
