"""What makes one JSON document of another, as a JSON patch (RFC 6902): what did not change is not touched.

https://www.rfc-editor.org/rfc/rfc6902
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.untyped import Json


def json_patch(old: Json, new: Json) -> tuple[Json, ...]:
    """Return the operations that make ``new`` of ``old``."""
    return tuple(_differences(old, new, ""))


def _differences(old: object, new: object, path: str) -> Iterator[Json]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _in_objects(old, new, path)
    elif isinstance(old, list) and isinstance(new, list) and _have_names(old) and _have_names(new):
        yield from _in_named(old, new, path)
    elif not _same(old, new):
        yield {"op": "replace", "path": path, "value": new}


def _in_objects(old: Json, new: Json, path: str) -> Iterator[Json]:
    for name, value in new.items():
        field_path = f"{path}/{_escaped(name)}"
        if name in old:
            yield from _differences(old[name], value, field_path)
        else:
            yield {"op": "add", "path": field_path, "value": value}
    for name in sorted(old.keys() - new.keys()):
        yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}


def _in_named(old: Sequence[Json], new: Sequence[Json], path: str) -> Iterator[Json]:
    """Yield what makes one list of objects with names of another: containers and volumes keep their places, others come between them."""
    kept_names = {entry["name"] for entry in new}
    kept = [entry for entry in old if entry["name"] in kept_names]
    if [entry["name"] for entry in kept] != [entry["name"] for entry in new if entry["name"] in {other["name"] for other in kept}]:
        yield {"op": "replace", "path": path, "value": list(new)}
        return
    for index in reversed(range(len(old))):
        if old[index]["name"] not in kept_names:
            yield {"op": "remove", "path": f"{path}/{index}"}
    kept_by_name = {entry["name"]: entry for entry in kept}
    for index, entry in enumerate(new):
        if entry["name"] in kept_by_name:
            yield from _differences(kept_by_name[entry["name"]], entry, f"{path}/{index}")
        else:
            yield {"op": "add", "path": f"{path}/{index}", "value": entry}


def _have_names(values: Sequence[object]) -> bool:
    names = [entry["name"] for entry in values if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
    return len(names) == len(values) == len(set(names))


def _same(old: object, new: object) -> bool:
    """Return whether both are the same JSON: Python takes 1, 1.0 and true for equal."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(value, new[name]) for name, value in old.items())
    return type(old) is type(new) and old == new


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
