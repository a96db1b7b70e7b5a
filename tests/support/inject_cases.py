"""Golden cases of injection: a folder each, with a pod (``in.yaml``) and what becomes of it (``out.yaml``).

The first lines of ``in.yaml`` are comments: why the case exists; where it is not the usual namespace, which wants proxies, ``namespace:``
with its name and labels; ``settings:`` and ``mesh:`` of injection; ``proxy-configs:``, objects as JSON; ``native: false`` where the cluster
has no native sidecars; ``whole: true`` where the patch itself is shown. Otherwise it is shown how the result differs from that of the case
``plain``. Arguments are shown as what they mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from controlplane.inject.annotation_values import proxy_settings
from controlplane.inject.inject import Injected, InjectionContext, InjectionOutcome, InjectionRefused, NotInjected, inject
from controlplane.inject.json_patch import json_patch
from controlplane.inject.policy import PodNamespace
from controlplane.inject.settings_file import settings_from_yaml
from controlplane.objects.networking.proxy_config import ProxyConfig
from controlplane.objects.networking.proxy_configs import ProxyConfigs, selected_settings
from controlplane.objects.reading.documents import documents
from controlplane.untyped import Json, items, section, text

FOLDER = Path(__file__).parents[1] / "golden" / "inject"
PLAIN = "plain"
_TOLD = re.compile(r"^# (namespace|settings|mesh|proxy-configs|native|whole): (.+)$", re.MULTILINE)
_WIDTH = 140


@dataclass(frozen=True, slots=True)
class Case:
    """One folder."""

    name: str

    @property
    def written(self) -> str:
        """Return what is written."""
        return (FOLDER / self.name / "in.yaml").read_text()

    @property
    def expected(self) -> Path:
        """Return the file that holds what becomes of it."""
        return FOLDER / self.name / "out.yaml"

    @property
    def told(self) -> dict[str, str]:
        """Return what the first lines say."""
        return dict(_TOLD.findall(self.written.partition("\nkind")[0]))

    @property
    def pod(self) -> Json:
        """Return the pod."""
        [document] = documents(self.written)
        assert document.problem is None, document.problem
        return dict(document.data or {})

    @property
    def namespace(self) -> PodNamespace:
        """Return where it is made."""
        said = json.loads(self.told.get("namespace", '{"name": "shop", "labels": {"istio-injection": "enabled"}}'))
        return PodNamespace(said["name"], said["labels"])

    @property
    def mesh(self) -> InjectionContext:
        """Return what injection goes by."""
        said = self.told
        chosen = replace(settings_from_yaml(said.get("settings", "")), init_image="navarch:golden")
        native = said.get("native") != "false"
        return InjectionContext(settings=chosen, configs=self._configs, has_native_sidecars=native)

    @property
    def _configs(self) -> ProxyConfigs:
        """Return the settings of proxies: those of the mesh, and the ProxyConfigs."""
        written = json.loads(self.told.get("proxy-configs", "[]"))
        configs = [ProxyConfig.model_validate({"kind": "ProxyConfig", **each}) for each in written]
        return ProxyConfigs(proxy_settings(self.told.get("mesh", "{}")), "istio-system", selected_settings(configs))

    @property
    def outcome(self) -> InjectionOutcome:
        """Return what becomes of the pod."""
        return inject(self.pod, self.namespace, self.mesh)

    def made(self) -> str:
        """Return what ``out.yaml`` has to hold."""
        return yaml.dump(self._shown(), Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)

    def _shown(self) -> Json:
        outcome = self.outcome
        match outcome:
            case NotInjected(why):
                return {"untouched": why}
            case InjectionRefused(problems):
                return {"refused": list(problems)}
            case Injected(pod, operations, warnings):
                warned: Json = {"warnings": list(warnings)} if warnings else {}
                if "whole" in self.told:
                    return {**warned, "patch": [meant(each) for each in operations]}
                return {**warned, "other than plain": [meant(each) for each in json_patch(_expanded(plain()), _expanded(pod))]}


class _Dumper(yaml.SafeDumper):
    """Writes everything out where it stands."""

    def ignore_aliases(self, data: object) -> bool:
        return isinstance(data, object)


def plain() -> Json:
    """Return what becomes of the plain pod."""
    outcome = Case(PLAIN).outcome
    assert isinstance(outcome, Injected)
    return outcome.pod


def meant(value: object) -> object:
    """Return ``value`` with the arguments of containers in it as what they mean."""
    if isinstance(value, list):
        return [meant(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {name: meant(each) for name, each in value.items()}
    arguments = value.get("args")
    if value.get("name") in {"istio-init", "istio-proxy"} and isinstance(arguments, list):
        found["args"] = dict(_arguments([str(each) for each in arguments]))
    return found


def _expanded(pod: Json) -> Json:
    found = meant(pod)
    assert isinstance(found, dict)
    return found


def _arguments(said: list[str]) -> Iterator[tuple[str, object]]:
    while said:
        name, *said = said
        if not name.startswith("-") or not said or (said[0].startswith("--") and name.startswith("--")):
            yield name, True
            continue
        value, *said = said
        yield name, json.loads(value) if name == "--config-yaml" else value


def containers(pod: Json) -> Iterator[Json]:
    """Yield every container of ``pod``."""
    spec = section(pod, "spec")
    yield from (*items(spec, "initContainers"), *items(spec, "containers"))


def cases() -> list[Case]:
    """Return all cases, by name."""
    return [Case(path.parent.name) for path in sorted(FOLDER.glob("*/in.yaml"))]


def annotated(case: Case) -> set[str]:
    """Return which annotations the pod of ``case`` has."""
    return set(section(section(case.pod, "metadata"), "annotations"))


def named(pod: Json, name: str) -> Json:
    """Return the container ``name`` of ``pod``."""
    [found] = [each for each in containers(pod) if text(each, "name") == name]
    return found
