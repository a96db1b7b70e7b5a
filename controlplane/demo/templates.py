"""The manifests of the demo, from the folder beside this module."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from controlplane.demo.gateway import CREDENTIAL, HOST, DemoGateway


def template(name: str, /, **values: str) -> str:
    """Return the manifest ``name`` of the folder beside this module, with ``values`` in it."""
    return Template((files("controlplane.demo") / "manifests" / f"{name}.yaml").read_text()).substitute(values)


def gateway_manifest(gateway: DemoGateway) -> str:
    """Return a manifest by which requests come in at ``gateway``."""
    return template("gateway", ip=gateway.ip, host=HOST, credential=CREDENTIAL)


def peer_authentication_manifest(mode: str) -> str:
    """Return a manifest by which every workload takes connections as ``mode`` says."""
    return template("peers", mode=mode)


def broken_manifest() -> str:
    """Return a manifest that is refused."""
    return template("broken")
