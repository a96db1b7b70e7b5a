"""docs/injection.md names every annotation that is read, and every setting with its default."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path

from pydantic.alias_generators import to_camel

from controlplane.inject.annotations import INJECTION_ANNOTATIONS, PROMETHEUS_ANNOTATIONS
from controlplane.inject.settings_file import settings_from_yaml
from controlplane.model.proxies import IGNORED_NAMESPACES
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.settings import InjectionSettings

PAGE = (Path(__file__).parents[3] / "docs" / "injection.md").read_text()
ROWS = re.findall(r"^\| `([\w./-]+)` \| (.+?) \|", PAGE, re.MULTILINE)
EXAMPLE = re.findall(r"^    (proxyImage.*\n    neverInject.*)$", PAGE, re.MULTILINE)


def told(value: object) -> str:
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case ():
            return "[]"
        case _:
            return str(value)


def test_every_annotation_is_a_row() -> None:
    assert [name for name, _ in ROWS if "/" in name] == [
        each.name for each in (*INJECTION_ANNOTATIONS[:-1], *PROMETHEUS_ANNOTATIONS, INJECTION_ANNOTATIONS[-1])
    ]


def test_every_setting_is_a_row_with_its_default() -> None:
    defaults = {to_camel(name): f"`{told(value)}`" for name, value in asdict(InjectionSettings()).items()}

    assert {name: default for name, default in ROWS if "/" not in name} == defaults


def test_every_setting_can_be_set_by_a_file() -> None:
    values = {"control_plane": "a.b:1", "proxy_image": "a:1", "init_image": "b:1", "revision": "r", "cluster": "c", "audience": "d"}
    values |= {"never_inject": "[a=b]", "always_inject": "[c=d]", "node_addresses": "[10.0.0.1]"}
    values |= {"auto_inject": "true", "native_sidecars": "true", "cni": "true"}

    read = settings_from_yaml("".join(f"{to_camel(name)}: {value}\n" for name, value in values.items()))

    assert values.keys() == {each.name for each in fields(InjectionSettings)}
    assert {name for name, value in asdict(read).items() if value != getattr(InjectionSettings(), name)} == values.keys() - {"auto_inject"}


def test_the_example_and_the_lists_are_right() -> None:
    [example] = EXAMPLE

    assert len(settings_from_yaml(example.replace("    ", "")).never_inject) == 2
    assert all(f"`{name}`" in PAGE for name in (*IGNORED_NAMESPACES, *(to_camel(name) for name in ProxySettings.model_fields)))
