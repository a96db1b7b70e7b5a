"""One source of what is installed: kustomize's overlays, `navarch manifests` and the Helm chart agree."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from controlplane.install.objects import install_objects
from controlplane.install.values import PLACES, InstallProfile, InstallValues
from controlplane.install.values_text import BadValues, read_values
from controlplane.objects.crds.definitions import definitions
from controlplane.untyped import Json
from tests.support.cli import navarch
from tests.support.helm import binary
from tests.support.install_files import CHART, chart_files, profile_files
from tests.support.rendered_manifests import MANIFESTS, rendered

_CHOSEN = {
    "image": "registry.example.com/mesh/navarch@sha256:0123",
    "imagePullSecrets": [{"name": "registry"}],
    "extraArgs": ["--log-level=debug", '--name=a "quoted" name'],
    "resources": {"limits": {"cpu": None, "memory": "2Gi"}},
    "minReplicas": 5,
    "maxReplicas": 20,
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
}


def test_what_is_printed_and_the_chart_are_made_of_the_overlays() -> None:
    stale = [str(path) for path, text in (*profile_files(), *chart_files()) if path.read_text() != text]

    assert not stale, "run: python -m tests.support.install_files"
    assert (CHART / "crds").resolve() == MANIFESTS / "crds"


@pytest.mark.parametrize("profile", InstallProfile)
def test_where_nothing_is_chosen_an_overlay_is_installed(profile: InstallProfile) -> None:
    printed = install_objects(InstallValues(profile=profile))

    overlay = (*rendered(f"overlays/{profile.value}"), *yaml.safe_load_all((MANIFESTS / "mesh" / "istio-system.yaml").read_text()))
    assert _sorted(printed) == _sorted(overlay)


@pytest.mark.parametrize("profile", InstallProfile)
@pytest.mark.parametrize("chosen", [{}, _CHOSEN], ids=["standard", "chosen"])
def test_helm_renders_what_is_printed(tmp_path: Path, profile: InstallProfile, chosen: Json) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"profile": profile.value, **chosen}))

    by_helm = _helm("template", "navarch", str(CHART), "--values", str(values), "--namespace", "navarch-system", "--kube-version", "1.30")

    printed = [each for each in _manifests("--values", str(values), "--no-crds") if each["kind"] != "Namespace"]
    assert _sorted(_objects(by_helm)) == _sorted(printed)


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    assert "0 chart(s) failed" in _helm("lint", str(CHART))


def test_each_value_has_an_effect_and_a_place() -> None:
    assert set(_CHOSEN) | {"profile"} == {field.alias for field in InstallValues.model_fields.values()}
    assert {place.name for place in PLACES} == set(_CHOSEN)
    standard = install_objects(InstallValues())
    for name, value in _CHOSEN.items():
        assert install_objects(read_values(json.dumps({name: value}), ())) != standard, name


def test_values_are_chosen_one_by_one_too_and_kinds_come_first() -> None:
    printed = _manifests("--set", "image=mine:1", "--set", "extraArgs=[--log-level=debug]")

    [deployment] = [each for each in printed if each["kind"] == "Deployment"]
    assert '"image": "mine:1"' in json.dumps(deployment)
    assert '"--log-level=debug"]' in json.dumps(deployment)
    kinds = list(definitions())
    assert printed[: len(kinds)] == kinds
    shown = navarch("manifests", "--show-values")
    assert read_values(shown.stdout, ()) == InstallValues()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imge: a", "imge: there is no such value; expected one of profile, image,"),
        ("minReplicas: many", "minReplicas: Input should be a valid integer"),
        ("profile: small", "profile: Input should be 'ha' or 'dev'"),
        ("- a", "expected an object"),
        ("a: [", "expected YAML"),
    ],
)
def test_a_wrong_value_is_named(text: str, expected: str) -> None:
    with pytest.raises(BadValues, match=re.escape(expected)):
        read_values(text, ())


def test_a_wrong_value_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    missing = navarch("manifests", "--values", str(tmp_path / "none.yaml"))
    wrong = navarch("manifests", "--set", "image")

    assert (missing.returncode, wrong.returncode) == (2, 2)
    assert "No such file" in missing.stderr
    assert "expected NAME=VALUE" in wrong.stderr


def _manifests(*options: str) -> list[Json]:
    done = navarch("manifests", *options)
    assert done.returncode == 0, done.stderr
    return _objects(done.stdout)


def _helm(*arguments: str) -> str:
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _objects(text: str) -> list[Json]:
    return [each for each in yaml.safe_load_all(text) if each]


def _sorted(objects: Iterable[Json]) -> list[str]:
    return sorted(json.dumps(each, sort_keys=True) for each in objects)
