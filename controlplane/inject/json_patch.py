"""What makes one JSON document of another, as a JSON patch (RFC 6902): what did not change is not touched.

https://www.rfc-editor.org/rfc/rfc6902
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.kube.json import Json


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
        at = f"{path}/{_escaped(name)}"
        if name in old:
            yield from _differences(old[name], value, at)
        else:
            yield {"op": "add", "path": at, "value": value}
    for name in sorted(old.keys() - new.keys()):
        yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}


def _in_named(old: Sequence[Json], new: Sequence[Json], path: str) -> Iterator[Json]:
    """Yield what makes one list of objects with names of another: containers and volumes keep their places, others come between them."""
    wanted = {each["name"] for each in new}
    kept = [each for each in old if each["name"] in wanted]
    if [each["name"] for each in kept] != [each["name"] for each in new if each["name"] in {one["name"] for one in kept}]:
        yield {"op": "replace", "path": path, "value": list(new)}
        return
    for at in reversed(range(len(old))):
        if old[at]["name"] not in wanted:
            yield {"op": "remove", "path": f"{path}/{at}"}
    before = {each["name"]: each for each in kept}
    for at, each in enumerate(new):
        if each["name"] in before:
            yield from _differences(before[each["name"]], each, f"{path}/{at}")
        else:
            yield {"op": "add", "path": f"{path}/{at}", "value": each}


def _have_names(value: Sequence[object]) -> bool:
    names = [each["name"] for each in value if isinstance(each, dict) and isinstance(each.get("name"), str)]
    return len(names) == len(value) == len(set(names))


def _same(old: object, new: object) -> bool:
    """Return whether both are the same JSON: Python takes 1, 1.0 and true for equal."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(value, new[name]) for name, value in old.items())
    return type(old) is type(new) and old == new


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
