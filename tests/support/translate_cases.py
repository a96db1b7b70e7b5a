"""Golden cases: a folder each, with what is written (``in.yaml``) and what Envoy gets (``out.yaml``).

The first lines of ``in.yaml`` are comments: why the case exists; ``show:`` the sections that it is about; if it is not the usual sidecar
that asks, ``metadata:`` of its node, as JSON; if it is a gateway, ``gateway:`` the name of its pod and its namespace;
if it has an identity, ``account:`` its service account.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from controlplane.mesh.snapshot import SECTIONS, snapshot
from controlplane.model.identity import Identity
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.objects.changes import Change
from controlplane.objects.locations import located_problems
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.once import read_manifests

FOLDER = Path(__file__).parents[1] / "golden" / "translate"
IP = "127.0.0.1"
NODE = f"sidecar~{IP}~client-1.default~default.svc.cluster.local"
METADATA: dict[str, object] = {"LABELS": {"app": "client"}}
GATEWAY: dict[str, object] = {"LABELS": {"istio": "ingressgateway"}}
_TOLD = re.compile(r"^# (show|metadata|gateway|account): (.+)$", re.MULTILINE)
_WIDTH = 140
_SHOWN = tuple(section for section in SECTIONS if section != "extensions")  # of cases that do not say which
# Fields of Envoy's messages that are maps: their order differs from one process to the next.
_MAPS = frozenset(("filterMetadata", "jsonFormat", "typedExtensionProtocolOptions", "typedPerFilterConfig", "policies", "providers"))


@dataclass(frozen=True, slots=True)
class Case:
    """One folder."""

    name: str
    show: tuple[str, ...] = _SHOWN
    metadata: dict[str, object] = field(default_factory=dict)
    gateway: str = ""  # "NAME.NAMESPACE", where it is one
    account: str = ""  # the service account of a proxy that has an identity

    @property
    def proxy(self) -> Proxy:
        """Return who asks."""
        namespace = self.gateway.partition(".")[2] or "default"
        node = f"router~{IP}~{self.gateway}~{namespace}.svc.cluster.local" if self.gateway else NODE
        found = proxy_from_node(node, (GATEWAY if self.gateway else METADATA) | self.metadata)
        return replace(found, identity=Identity("cluster.local", namespace, self.account)) if self.account else found

    @property
    def expected(self) -> Path:
        """Return the file that holds what Envoy gets."""
        return FOLDER / self.name / "out.yaml"

    def read(self) -> tuple[ManifestFolder, tuple[Change, ...]]:
        """Return the objects of the case."""
        return read_manifests([str(FOLDER / self.name / "in.yaml")], io.BytesIO())

    def made(self) -> str:
        """Return what ``out.yaml`` has to hold: the sections shown, and what is wrong with the objects."""
        folder, changes = self.read()
        found = snapshot(changes, self.proxy)
        shown: dict[str, object] = {name: found.resources[name] for name in self.show if found.resources[name] or name != "extensions"}
        problems = [f"{each.problem.severity.value}: {line(each.row())}" for each in located_problems(found.problems, [folder])]
        made = ordered({**shown, **({"problems": problems} if problems else {})})
        return yaml.safe_dump(made, sort_keys=False, width=_WIDTH, allow_unicode=True)


def ordered(value: object, *, below_a_map: bool = False) -> object:
    """Return ``value`` with lists for tuples, and the entries of maps, and all below them, by name."""
    if isinstance(value, Mapping):
        names = sorted(value) if below_a_map else value
        return {
            name: ordered(value[name], below_a_map=below_a_map or name in _MAPS or (name == "value" and "typeUrl" in value))
            for name in names
        }
    if isinstance(value, list | tuple):
        return [ordered(each, below_a_map=below_a_map) for each in value]
    return value


def line(row: Mapping[str, object]) -> str:
    """Return a Problem on one line, without where its file stands."""
    return f"{row['object']} {row['field']} (line {row['line']}): {row['message']}"


def case(name: str) -> Case:
    """Return the case in the folder ``name``."""
    head = (FOLDER / name / "in.yaml").read_text().partition("\napiVersion")[0]
    told = dict(_TOLD.findall(head))
    show = tuple(each.strip() for each in told["show"].split(",")) if "show" in told else _SHOWN
    return Case(name, show, json.loads(told.get("metadata", "{}")), told.get("gateway", ""), told.get("account", ""))


def cases() -> list[Case]:
    """Return all cases, by name."""
    return [case(path.parent.name) for path in sorted(FOLDER.glob("*/in.yaml"))]
