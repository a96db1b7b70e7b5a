"""docs/architecture.md tells of the rooms that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def rooms() -> set[str]:
    """Return the folders and modules of the package itself."""
    found = (ROOT / "controlplane").iterdir()
    return {path.stem for path in found if (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem != "__init__")}


def test_every_room_has_one_paragraph() -> None:
    told = re.findall(r"^\*\*`(\w+)`\*\*", PAGE, re.MULTILINE)

    assert sorted(told) == sorted(rooms())


def test_the_rooms_are_told_in_the_order_of_imports() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each.get("containers") == ["controlplane"]]
    order = re.findall(r"^\*\*`(\w+)`\*\*", PAGE, re.MULTILINE)

    level = {room: at for at, layer in enumerate(layers) for room in layer.split(" | ")}

    assert [level[room] for room in order] == sorted(level[room] for room in order)


def test_every_room_opens_with_what_it_is_for() -> None:
    bare = [room for room in rooms() if (ROOT / "controlplane" / room).is_dir() and not opening(ROOT / "controlplane" / room)]

    assert bare == []


def opening(room: Path) -> bool:
    """Return whether the ``__init__.py`` of ``room`` is a docstring."""
    return (room / "__init__.py").read_text().startswith('"""')


def test_files_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`((?:\w+/)+[\w.-]+|\w+\.(?:py|md))`", PAGE))

    missing = [name for name in sorted(named) if not any(exists(folder, name) for folder in (ROOT, ROOT / "controlplane"))]

    assert missing == []


def exists(folder: Path, name: str) -> bool:
    """Return whether ``name`` is a path below ``folder``, or the name of a file in a room there."""
    return (folder / name).exists() or (name.endswith(".py") and any(folder.rglob(name)))
