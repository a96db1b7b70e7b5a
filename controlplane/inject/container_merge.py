"""The container that a pod has written for its proxy, merged into the one that is generated."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.inject.pod import BadPod
from controlplane.untyped import Json, text

AUTO_IMAGE = "auto"  # an image that is to be filled in: where containers are written, the API server wants one
# The merge keys of these lists, as in a strategic merge.
_MERGE_KEYS: Mapping[str, Callable[[Json], object]] = {
    "env": lambda variable: variable.get("name"),
    "ports": lambda port: (port.get("containerPort"), port.get("protocol", "TCP")),
    "volumeMounts": lambda mount: mount.get("mountPath"),
    "volumeDevices": lambda device: device.get("devicePath"),
}


def merged_container(generated: Json, written: Json, path: str) -> Json:
    """Return the container ``generated`` with the overrides in ``written``, at ``path`` of the pod; raises BadPod."""
    for name in ("command", "args"):
        if written.get(name):
            raise BadPod(f"{path}.{name}: expected none: the proxy's bootstrap is there")
    generated_variables = {variable["name"] for variable in _entries(generated.get("env"))}
    for variable in _entries(written.get("env")):
        if variable.get("name") in generated_variables:
            raise BadPod(f"{path}.env: {text(variable, 'name')} is what the proxy's bootstrap is made with: expected another name")
    overrides = {
        name: value for name, value in written.items() if value not in (None, [], {}, "") and (name, value) != ("image", AUTO_IMAGE)
    }
    # The API server fills these in where the pod says nothing.
    defaults = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    return _merged(generated, {name: value for name, value in overrides.items() if defaults.get(name) != value})


def _merged(base: Json, overrides: Json) -> Json:
    merged = dict(base)
    for name, value in overrides.items():
        current = merged.get(name)
        if name in _MERGE_KEYS:
            merged[name] = _merged_lists(_entries(current), _entries(value), _MERGE_KEYS[name])
        elif isinstance(current, dict) and isinstance(value, dict) and not _are_alternatives(current, value):
            merged[name] = _merged(current, value)
        else:
            merged[name] = value
    return merged


def _are_alternatives(current: Json, override: Json) -> bool:
    """Return whether both name an action, of which a probe or a hook has one."""
    actions = {"httpGet", "tcpSocket", "grpc", "exec", "sleep"}
    return bool(actions & current.keys() and actions & override.keys())


def _merged_lists(base: list[Json], overrides: list[Json], key: Callable[[Json], object]) -> list[Json]:
    merged = {key(entry): entry for entry in base}
    for entry in overrides:
        merged[key(entry)] = {**merged.get(key(entry), {}), **entry}
    return list(merged.values())


def _entries(value: object) -> list[Json]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
