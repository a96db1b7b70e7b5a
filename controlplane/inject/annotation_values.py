"""What annotations may say: each reader takes the text and returns what it means, or raises BadValue with what was expected.

Nothing is ever pasted into other text. What is a list or a map becomes one here, and every reader knows all that its text may consist of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import orjson
from pydantic import ValidationError

from controlplane.iptables.settings import EVERYTHING, BadIptablesOption, blocks, port_numbers
from controlplane.iptables.settings import interfaces as names_of_interfaces
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.types.validation_errors import findings

Json: TypeAlias = dict[str, object]
T = TypeVar("T")

_MAX_TEXT = 4096
_MAX_ENTRIES = 256
_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_TRUE = frozenset(("true", "y", "yes", "on", "1"))
_FALSE = frozenset(("false", "n", "no", "off", "0"))
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}\Z")
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?\Z", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9_]{1,32}\Z")
_UNITS = {"m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_VOLUMES = ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")


class BadValue(ValueError):
    """A text that does not mean anything: what was expected."""


def boolean(text: str) -> bool:
    """Return whether ``text`` says yes."""
    said = text.lower()
    if said not in _TRUE | _FALSE:
        raise BadValue("expected true or false")
    return said in _TRUE


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
    """Return what the quantity ``text`` comes to."""
    found = _QUANTITY.match(text)
    if not found:
        raise BadValue("expected a quantity, as 100m or 128Mi")
    return float(found[1]) * _UNITS[found[2] or ""]


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
    said = {"warn": "warning"}.get(text, text)
    if said not in _LEVELS:
        raise BadValue(f"expected one of {', '.join(_LEVELS)}")
    return said


def component_log_levels(text: str) -> str:
    """Return the levels of Envoy's components in ``text``, as ``upstream:debug,http:info``."""
    pairs = [each.partition(":") for each in text.split(",")] if text else []
    if not all(_COMPONENT.match(name) for name, _, _ in pairs):
        raise BadValue("expected components with a log level, as upstream:debug,http:info")
    return ",".join(f"{name}:{log_level(said)}" for name, _, said in pairs)


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


def volumes(text: str) -> tuple[Json, ...]:
    """Return the volumes in ``text``: JSON, a list of them, or a map from their names; a folder of the node is none of them."""
    found = _named(text)
    for each in found:
        kinds = each.keys() - {"name"}
        if len(kinds) != 1 or not kinds <= set(_VOLUMES):
            raise BadValue(f"expected volumes with a name and one of {', '.join(_VOLUMES)}")
    return found


def volume_mounts(text: str) -> tuple[Json, ...]:
    """Return the mounts in ``text``: JSON, a list of them, or a map from the names of their volumes."""
    found = _named(text)
    for each in found:
        if not isinstance(each.get("mountPath"), str) or each.keys() - {"name", "mountPath", "subPath", "readOnly"}:
            raise BadValue("expected mounts of name and mountPath, and perhaps subPath and readOnly")
    return found


def proxy_settings(text: str) -> ProxySettings:
    """Return the settings of a proxy in ``text``, which is YAML."""
    try:
        composed = compose(text)
        value = composed.value if composed else None
        if value is not None and not isinstance(value, dict):
            raise BadValue("expected the fields of a ProxyConfig, as YAML")
        return ProxySettings.model_validate(sanitized(value or {}))
    except (UnreadableError, InvalidJson) as error:
        raise BadValue(f"expected YAML: {error}") from error
    except ValidationError as error:
        raise BadValue("; ".join(f"{each.path}: {each.message.partition(', found ')[0]}" for each in findings(error))) from error


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


def _named(text: str) -> tuple[Json, ...]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadValue("expected JSON") from error
    if isinstance(value, dict):
        value = [{"name": name, **each} if isinstance(each, dict) else each for name, each in value.items()]
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES:
        raise BadValue("expected a list, or a map from names")
    found = tuple(each for each in value if isinstance(each, dict) and isinstance(each.get("name"), str))
    if len(found) != len(value):
        raise BadValue("expected objects with a name")
    return found
