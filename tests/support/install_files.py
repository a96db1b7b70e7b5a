"""What is made of ``manifests/overlays`` for those who do not use kustomize: the files of ``navarch manifests``, and the Helm chart.

`python -m tests.support.install_files` writes both anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from controlplane.install.objects import placed, profile_objects
from controlplane.install.values import PLACES, InstallProfile, InstallValues, Landing
from controlplane.install.values_text import values_text
from controlplane.untyped import Json
from tests.support.rendered_manifests import MANIFESTS, ROOT, rendered

CHART = MANIFESTS / "chart"
_MADE = "# Made of manifests/overlays by `python -m tests.support.install_files`.\n"
_MARK = re.compile(r"^(?P<indent> *)(?P<dash>- )?(?:(?P<key>\w+): )?'?@@(?P<name>\w+)@@'?$", re.MULTILINE)
_LANDINGS = {place.name: place.landing for place in PLACES}


def profile_files() -> Iterator[tuple[Path, str]]:
    """Yield the files that `navarch manifests` reads; skip the test where there is no kubectl."""
    for profile in InstallProfile:
        objects = yaml.safe_dump_all(rendered(f"overlays/{profile.value}"), sort_keys=False, width=140)
        yield ROOT / "controlplane" / "install" / f"{profile.value}.yaml", f"{_MADE}{objects}"


def chart_files() -> Iterator[tuple[Path, str]]:
    """Yield the files of the chart."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    about: Mapping[str, object] = {
        "apiVersion": "v2",
        "name": "navarch",
        "description": "A service-mesh control plane that speaks xDS to stock Envoy",
        "type": "application",
        "version": version[1],
        "appVersion": version[1],
        "kubeVersion": ">=1.30.0-0",
    }
    yield CHART / "Chart.yaml", f"{_MADE}{yaml.safe_dump(about, sort_keys=False)}"
    yield CHART / "values.yaml", f"{_MADE}{values_text()}"
    schema = InstallValues.model_json_schema(by_alias=True)
    schema["properties"]["global"] = {"type": "object"}  # which Helm adds
    yield CHART / "values.schema.json", f"{json.dumps(schema, indent=2)}\n"
    for profile in InstallProfile:
        objects = (each for each in profile_objects(profile) if each["kind"] != "Namespace")
        text = "---\n".join(map(_template, objects))
        yield CHART / "templates" / f"{profile.value}.yaml", f'{{{{- if eq .Values.profile "{profile.value}" }}}}\n{text}{{{{- end }}}}\n'


def _template(one: Json) -> str:
    marks = {place.name: [f"@@{place.name}@@"] if place.landing is Landing.APPEND else f"@@{place.name}@@" for place in PLACES}
    text = yaml.safe_dump(placed(one, marks), sort_keys=False, width=10_000)
    return _MARK.sub(_expression, text)


def _expression(found: re.Match[str]) -> str:
    value, indent = f".Values.{found['name']}", found["indent"]
    match _LANDINGS[found["name"]]:
        case Landing.APPEND:
            return f"{indent}{{{{- range {value} }}}}\n{indent}- {{{{ toJson . }}}}\n{indent}{{{{- end }}}}"
        case Landing.SET_IF_ANY:
            return f"{indent}{{{{- with {value} }}}}\n{indent}{found['key']}: {{{{ toJson . }}}}\n{indent}{{{{- end }}}}"
        case Landing.SET:
            return f"{indent}{found['dash'] or ''}{found['key']}: {{{{ toJson {value} }}}}"


if __name__ == "__main__":
    for write in (profile_files, chart_files):
        for path, content in write():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    crds = CHART / "crds"
    if not crds.is_symlink():
        crds.symlink_to("../crds")
