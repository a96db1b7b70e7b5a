"""A container that a pod has written for its proxy, laid over the one that is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.inject.pod import BadPod
from controlplane.kube.json import Json, text

AUTO = "auto"  # an image that is to be filled in: where containers are written, the API server wants one
# What tells entries of these lists apart, as in a strategic merge.
_KEYS: Mapping[str, Callable[[Json], object]] = {
    "env": lambda each: each.get("name"),
    "ports": lambda each: (each.get("containerPort"), each.get("protocol", "TCP")),
    "volumeMounts": lambda each: each.get("mountPath"),
    "volumeDevices": lambda each: each.get("devicePath"),
}


def merged_container(made: Json, own: Json, path: str) -> Json:
    """Return the container ``made`` with what ``own``, at ``path`` of the pod, says instead or besides; raises BadPod."""
    for name in ("command", "args"):
        if own.get(name):
            raise BadPod(f"{path}.{name}: expected none: the proxy's bootstrap is there")
    ours = {each["name"] for each in _entries(made.get("env"))}
    for each in _entries(own.get("env")):
        if each.get("name") in ours:
            raise BadPod(f"{path}.env: {text(each, 'name')} is what the proxy's bootstrap is made with: expected another name")
    said = {name: value for name, value in own.items() if value not in (None, [], {}, "") and (name, value) != ("image", AUTO)}
    # The API server fills these in where the pod says nothing.
    defaults = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    return _merged(made, {name: value for name, value in said.items() if defaults.get(name) != value})


def _merged(made: Json, own: Json) -> Json:
    found = dict(made)
    for name, value in own.items():
        before = found.get(name)
        if name in _KEYS:
            found[name] = _joined(_entries(before), _entries(value), _KEYS[name])
        elif isinstance(before, dict) and isinstance(value, dict) and not _chooses(before, value):
            found[name] = _merged(before, value)
        else:
            found[name] = value
    return found


def _chooses(before: Json, value: Json) -> bool:
    """Return whether both are one of several: how a probe or a hook is done."""
    ways = {"httpGet", "tcpSocket", "grpc", "exec", "sleep"}
    return bool(ways & before.keys() and ways & value.keys())


def _joined(made: list[Json], own: list[Json], key: Callable[[Json], object]) -> list[Json]:
    found = {key(each): each for each in made}
    for each in own:
        found[key(each)] = {**found.get(key(each), {}), **each}
    return list(found.values())


def _entries(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
