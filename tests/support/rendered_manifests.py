"""What kustomize makes of the manifests, and where they are."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TypeAlias

import yaml

from controlplane.inject.inject import Injected, InjectionContext, inject
from controlplane.inject.policy import PodNamespace
from controlplane.settings import InjectionSettings
from tests.support.kube_binaries import kubectl

Json: TypeAlias = dict[str, object]

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
PAGE = (ROOT / "docs" / "install.md").read_text()
SETS = ("base", "overlays/dev", "overlays/ha")
GATEWAY, GATEWAY_NAME, GATEWAY_NAMESPACE = "gateway", "istio-ingressgateway", "istio-ingress"


@cache
def text(of: str) -> str:
    """Return the manifests of the set named ``of`` as one stream of YAML; skip the test where there is no kubectl."""
    made = subprocess.run([kubectl(), "kustomize", str(MANIFESTS / of)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return made.stdout


def rendered(of: str) -> tuple[Json, ...]:
    """Return the objects of the set named ``of``."""
    found = tuple(yaml.safe_load_all(text(of)))
    assert all(isinstance(each, dict) for each in found)
    return found


def at(value: object, *path: str | int) -> object:
    """Return what is at ``path`` below ``value``; the test fails where there is nothing."""
    for step in path:
        if isinstance(step, int):
            assert isinstance(value, list), f"no list at {step}: {value}"
            value = value[step]
        else:
            assert isinstance(value, dict), f"no object at {step}: {value}"
            assert step in value, f"no {step} in {sorted(value)}"
            value = value[step]
    return value


def objects(value: object) -> tuple[Json, ...]:
    """Return ``value`` as a list of objects; None is an empty one."""
    if value is None:
        return ()
    assert isinstance(value, list)
    assert all(isinstance(each, dict) for each in value)
    return tuple(value)


def words(value: object) -> tuple[str, ...]:
    """Return ``value`` as a list of strings; None is an empty one."""
    if value is None:
        return ()
    assert isinstance(value, list)
    assert all(isinstance(each, str) for each in value)
    return tuple(value)


def only(of: str, kind: str, name: str = "navarch", namespace: str | None = None) -> Json:
    """Return the one object of ``kind`` called ``name`` in the set named ``of``."""
    [found] = [
        each
        for each in rendered(of)
        if each["kind"] == kind
        and at(each, "metadata", "name") == name
        and (namespace is None or at(each, "metadata", "namespace") == namespace)
    ]
    return found


def pod(of: str) -> object:
    """Return the spec of the pods."""
    return at(only(of, "Deployment"), "spec", "template", "spec")


def container(of: str) -> Json:
    """Return the one container of the pods."""
    [found] = objects(at(pod(of), "containers"))
    return found


def arguments(of: str) -> dict[str, str]:
    """Return the options that the container's command is given, with their values."""
    command, *options = words(container(of)["args"])
    assert command == "serve"
    return {name: value for name, _, value in (option.partition("=") for option in options)}


def ports(of: str) -> dict[str, int]:
    """Return the container's ports by their names."""
    found = {str(each["name"]): each["containerPort"] for each in objects(container(of)["ports"])}
    return {name: port for name, port in found.items() if isinstance(port, int)}


def gateway_pod() -> Json:
    """Return the pod that injection makes of that of the gateway's Deployment."""
    labels = at(only(GATEWAY, "Namespace", GATEWAY_NAMESPACE), "metadata", "labels")
    template = at(only(GATEWAY, "Deployment", GATEWAY_NAME), "spec", "template")
    assert isinstance(labels, dict)
    assert isinstance(template, dict)
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    found = inject(pod, PodNamespace(GATEWAY_NAMESPACE, labels), InjectionContext(settings=InjectionSettings()), GATEWAY_NAME)
    assert isinstance(found, Injected), found
    assert found.warnings == ()
    return found.pod


def page_commands() -> list[str]:
    """Return the kubectl lines of the page on installation, in order."""
    return [line.strip() for line in PAGE.splitlines() if line.startswith("    kubectl ")]
