"""docs/mesh-config.md names the settings that are read, with their defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from controlplane.objects.mesh.mesh_config import MeshConfig, MeshConfigSpec
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents

PAGE = (Path(__file__).parents[3] / "docs" / "mesh-config.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", PAGE, re.MULTILINE))


def fields(value: dict[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from fields(each, f"{path}{name}.")
        else:
            yield (
                path + name,
                "[]" if each == () else "unset" if each is None else str(each).lower() if isinstance(each, bool) else str(each),
            )


def default(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_setting_is_a_row_with_its_default() -> None:
    assert dict(fields(MeshConfigSpec().model_dump(by_alias=True))) == ROWS


def test_the_example_is_read() -> None:
    [document] = documents("\n".join(line[4:] for line in PAGE.splitlines() if line.startswith("    ")))

    parsed = parse(document.data or {})

    assert parsed.problems == ()
    assert isinstance(parsed.object, MeshConfig)
    assert parsed.object.spec.outbound_traffic_policy.mode == "REGISTRY_ONLY"
