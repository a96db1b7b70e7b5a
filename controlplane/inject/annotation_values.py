"""What annotations may say: each reader takes the text and returns what it means, or raises BadValue with what was expected.

Nothing is ever pasted into other text. What is a list or a map becomes one here, and every reader knows all that its text may consist of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import orjson
from pydantic import ValidationError

from controlplane.errors import UserError
from controlplane.iptables.settings import EVERYTHING, BadIptablesOption, blocks, port_numbers
from controlplane.iptables.settings import interfaces as names_of_interfaces
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.types.regex import regex_error
from controlplane.objects.types.validation_errors import findings
from controlplane.untyped import Json

T = TypeVar("T")

_MAX_TEXT = 4096
_MAX_ENTRIES = 256
_LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_TRUE = frozenset(("true", "y", "yes", "on", "1"))
_FALSE = frozenset(("false", "n", "no", "off", "0"))
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}\Z")
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?\Z", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9_]{1,32}\Z")
_UNITS = {"m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_VOLUME_KINDS = ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")


class BadValue(UserError, ValueError):
    """A text that does not mean anything: what was expected."""


def boolean(text: str) -> bool:
    """Return the boolean that ``text`` means, in any of the spellings of YAML."""
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise BadValue("expected true or false")
    return lowered in _TRUE


def strict_boolean(text: str) -> bool:
    """Return whether ``text`` is ``true``: what the selectors of webhooks look at too has one spelling."""
    if text not in {"true", "false"}:
        raise BadValue("expected true or false")
    return text == "true"


def image(text: str) -> str:
    """Return ``text`` if an image may be called that."""
    if not _IMAGE.match(text):
        raise BadValue("expected the name of an image, as registry.example.com/envoy:v1.40.0")
    return text


def quantity(text: str) -> str:
    """Return ``text`` if it is a quantity of Kubernetes, written plainly.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    if not _QUANTITY.match(text):
        raise BadValue("expected a quantity, as 100m or 128Mi")
    return text


def quantity_value(text: str) -> float:
    """Return the quantity ``text`` as a number."""
    match = _QUANTITY.match(text)
    if not match:
        raise BadValue("expected a quantity, as 100m or 128Mi")
    return float(match[1]) * _UNITS[match[2] or ""]


def quantity_between(least: str, most: str) -> Callable[[str], str]:
    """Return a reader of quantities from ``least`` to ``most``."""
    low, high = quantity_value(least), quantity_value(most)

    def read(text: str) -> str:
        if not low <= quantity_value(text) <= high:
            raise BadValue(f"expected a quantity from {least} to {most}")
        return text

    return read


def log_level(text: str) -> str:
    """Return the log level ``text``, as Envoy calls it."""
    envoy_level = {"warn": "warning"}.get(text, text)
    if envoy_level not in _LOG_LEVELS:
        raise BadValue(f"expected one of {', '.join(_LOG_LEVELS)}")
    return envoy_level


def component_log_levels(text: str) -> str:
    """Return the levels of Envoy's components in ``text``, as ``upstream:debug,http:info``."""
    pairs = [pair.partition(":") for pair in text.split(",")] if text else []
    if not all(_COMPONENT.match(name) for name, _, _ in pairs):
        raise BadValue("expected components with a log level, as upstream:debug,http:info")
    return ",".join(f"{name}:{log_level(level)}" for name, _, level in pairs)


def integer_between(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and low <= int(text) <= high):
            raise BadValue(f"expected a whole number from {low} to {high}")
        return int(text)

    return read


def port_list(text: str) -> str:
    """Return the ports in ``text``, which may be none, between commas."""
    return ",".join(map(str, _read(text, port_numbers, "ports between commas, as 80,8080")))


def port_list_or_all(text: str) -> str:
    """Return the ports in ``text``, or ``*`` for all."""
    return text if text == EVERYTHING else port_list(text)


def ip_ranges(text: str) -> str:
    """Return the CIDR ranges in ``text``, which may be none, between commas."""
    return ",".join(map(str, _read(text, blocks, "ranges of addresses between commas, as 10.0.0.0/8,2001:db8::/32")))


def ip_ranges_or_all(text: str) -> str:
    """Return the CIDR ranges in ``text``, or ``*`` for all."""
    return text if text == EVERYTHING else ip_ranges(text)


def interfaces(text: str) -> str:
    """Return the network interfaces in ``text``, between commas."""
    return ",".join(_read(text, names_of_interfaces, "names of network interfaces between commas, as net1,eth1"))


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of ``words``."""

    def read(text: str) -> str:
        if text not in words:
            raise BadValue(f"expected {' or '.join(words)}")
        return text

    return read


def parts(text: str) -> tuple[str, ...]:
    """Return the parts of names in ``text``, which may be none, between commas."""
    return tuple(part.strip() for part in one_line(text).split(",") if part.strip())


def regular_expressions(text: str) -> tuple[str, ...]:
    """Return the regular expressions in ``text``, which may be none, between commas."""
    found = parts(text)
    for error in filter(None, map(regex_error, found)):
        raise BadValue(error)
    return found


def histogram_buckets(text: str) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Return the upper bounds of buckets in ``text``, JSON: a map to them from the first parts of histograms' names."""
    expected = 'expected a map from prefixes of names to upper bounds above 0, as {"cluster.xds-grpc": [1, 5, 10]}'
    try:
        decoded = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadValue(expected) from error
    if not isinstance(decoded, dict) or len(decoded) > _MAX_ENTRIES:
        raise BadValue(expected)
    return tuple((prefix, _bounds(bounds, expected)) for prefix, bounds in sorted(decoded.items()) if prefix)


def _bounds(value: object, expected: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_ENTRIES:
        raise BadValue(expected)
    bounds = [float(each) for each in value if isinstance(each, int | float) and not isinstance(each, bool) and each > 0]
    if len(set(bounds)) != len(value):
        raise BadValue(expected)
    return tuple(sorted(bounds))


def volumes(text: str) -> tuple[Json, ...]:
    """Return the volumes in ``text``: JSON, a list of them, or a map from their names; a folder of the node is none of them."""
    objects = _objects_with_names(text)
    for volume in objects:
        kinds = volume.keys() - {"name"}
        if len(kinds) != 1 or not kinds <= set(_VOLUME_KINDS):
            raise BadValue(f"expected volumes with a name and one of {', '.join(_VOLUME_KINDS)}")
    return objects


def volume_mounts(text: str) -> tuple[Json, ...]:
    """Return the mounts in ``text``: JSON, a list of them, or a map from the names of their volumes."""
    objects = _objects_with_names(text)
    for mount in objects:
        if not isinstance(mount.get("mountPath"), str) or mount.keys() - {"name", "mountPath", "subPath", "readOnly"}:
            raise BadValue("expected mounts of name and mountPath, and perhaps subPath and readOnly")
    return objects


def proxy_settings(text: str) -> ProxySettings:
    """Return the settings of a proxy in ``text``, which is YAML."""
    try:
        composed = compose(text)
        fields = composed.value if composed else None
        if fields is not None and not isinstance(fields, dict):
            raise BadValue("expected the fields of a ProxyConfig, as YAML")
        return ProxySettings.model_validate(sanitized(fields or {}))
    except (UnreadableError, InvalidJson) as error:
        raise BadValue(f"expected YAML: {error}") from error
    except ValidationError as error:
        raise BadValue("; ".join(f"{finding.path}: {finding.message.partition(', found ')[0]}" for finding in findings(error))) from error


def one_line(text: str) -> str:
    """Return ``text`` if it is of one line, and not too long."""
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise BadValue(f"expected at most {_MAX_TEXT} characters on one line")
    return text


def _read(text: str, read: Callable[[str, str], tuple[T, ...]], expected: str) -> tuple[T, ...]:
    """Return what ``navarch iptables`` will ``read`` in ``text``."""
    try:
        return read(one_line(text), "")
    except BadIptablesOption as error:
        raise BadValue(f"expected {expected}") from error


def _objects_with_names(text: str) -> tuple[Json, ...]:
    try:
        decoded = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadValue("expected JSON") from error
    if isinstance(decoded, dict):
        decoded = [{"name": name, **fields} if isinstance(fields, dict) else fields for name, fields in decoded.items()]
    if not isinstance(decoded, list) or len(decoded) > _MAX_ENTRIES:
        raise BadValue("expected a list, or a map from names")
    objects = tuple(entry for entry in decoded if isinstance(entry, dict) and isinstance(entry.get("name"), str))
    if len(objects) != len(decoded):
        raise BadValue("expected objects with a name")
    return objects
