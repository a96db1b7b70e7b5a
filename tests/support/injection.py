"""What pods are injected by, and what a JSON patch makes of one."""

from __future__ import annotations

import copy

from controlplane.inject.inject import InjectionContext
from controlplane.inject.policy import PodNamespace
from controlplane.settings import InjectionSettings
from controlplane.untyped import Json

SETTINGS = InjectionSettings()
MESH = InjectionContext(settings=SETTINGS)
WANTED = PodNamespace("shop", {"istio-injection": "enabled"})


def applied(operations: tuple[Json, ...], document: Json) -> object:
    """Apply a JSON patch as RFC 6902 says."""
    root: list[object] = [copy.deepcopy(document)]
    for each in operations:
        *parents, last = [0, *(part.replace("~1", "/").replace("~0", "~") for part in str(each["path"]).split("/")[1:])]
        at: object = root
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at[part]  # type: ignore[index]  # a test: it fails if there is nothing
        change(at, last, each)
    return root[0]


def change(at: object, last: object, operation: Json) -> None:
    match at, operation["op"]:
        case list(), "add":
            at.insert(int(str(last)), operation["value"])
        case list(), "replace":
            at[int(str(last))] = operation["value"]
        case list(), "remove":
            del at[int(str(last))]
        case dict(), "remove":
            del at[last]
        case dict(), "add" | "replace":
            assert (operation["op"] == "add") is (last not in at)
            at[last] = operation["value"]
        case _:
            raise AssertionError(operation)
