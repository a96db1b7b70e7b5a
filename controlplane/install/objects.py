"""The objects of an installation: those of a profile, with the values that were chosen in their places."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from importlib.resources import files

import yaml

from controlplane.install.values import PLACES, InstallProfile, InstallValues, Landing, ValuePlace
from controlplane.untyped import Json

_ROOT_NAMESPACE: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}  # as in manifests/mesh


def profile_objects(profile: InstallProfile) -> tuple[Json, ...]:
    """Return the objects of ``profile`` as they are where nothing is chosen: what kustomize makes of ``manifests/overlays``."""
    text = files("controlplane.install").joinpath(f"{profile.value}.yaml").read_text()
    return tuple(each for each in yaml.safe_load_all(text) if isinstance(each, dict))


def install_objects(values: InstallValues) -> tuple[Json, ...]:
    """Return everything that is installed by ``values``, besides CustomResourceDefinitions: namespaces first."""
    chosen = values.model_dump(mode="json", by_alias=True)
    found = (_ROOT_NAMESPACE, *(placed(each, chosen) for each in profile_objects(values.profile)))
    return tuple(sorted(found, key=lambda each: each["kind"] != "Namespace"))


def placed(one: Json, values: Mapping[str, object], places: Iterable[ValuePlace] = PLACES) -> Json:
    """Return the object ``one`` with those of ``values`` that land in it."""
    changed = copy.deepcopy(one)
    for place in places:
        if place.kind == one["kind"]:
            _place(changed, place, values[place.name])
    return changed


def _place(changed: Json, place: ValuePlace, value: object) -> None:
    *path, last = place.path
    at: object = changed
    for step in path:
        at = _inside(at, step)
    match place.landing:
        case Landing.APPEND:
            there = _inside(at, last)
            if isinstance(there, list) and isinstance(value, list):
                there.extend(value)
        case Landing.SET_IF_ANY if not value:
            pass
        case Landing.SET | Landing.SET_IF_ANY:
            if isinstance(at, dict):
                at[last] = value


def _inside(at: object, step: str | int) -> object:
    if isinstance(at, dict):
        return at[step]
    if isinstance(at, list) and isinstance(step, int):
        return at[step]
    raise LookupError(f"nothing is at {step!r}")
