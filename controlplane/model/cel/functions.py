"""The functions of CEL that Envoy has, with how many arguments each may have."""

from __future__ import annotations

HAS = "has"  # of a field alone
WALKS = frozenset(("all", "exists", "exists_one", "map", "filter"))
_OF_TIMES = (
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
)
_OF_TEXTS = ("contains", "endsWith", "matches", "startsWith")
ALONE = {
    **dict.fromkeys(("bool", "bytes", "double", "duration", "dyn", "int", "size", "timestamp", "type", "uint"), (1,)),
    **dict.fromkeys(_OF_TEXTS, (2,)),
}
OF_VALUES = {"size": (0,), **dict.fromkeys(_OF_TEXTS, (1,)), **dict.fromkeys(_OF_TIMES, (0, 1))}
