"""The value of a patch: which message it is, what may be done with it, and what can be said against it before it meets a proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import re2
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from controlplane.envoy.constraints import violations, violations_of_part
from controlplane.envoy.packing import encode
from controlplane.envoy.patching.foreign_filters import instead_of
from controlplane.envoy.patching.json_values import Trail, ValueFault, read_message
from controlplane.envoy.patching.message_texts import messages_in
from controlplane.envoy.patching.message_types import message_class, type_name

MERGES = frozenset(("MERGE", "MERGE_AND_REPLACE_LIST"))
_INSERTS = frozenset(("INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST"))
_ALL = MERGES | _INSERTS | {"ADD", "REMOVE", "REPLACE"}
_MEMBER = MERGES | {"ADD", "REMOVE"}
# By what is patched: the message that a value is.
_KINDS: Mapping[str, str] = {
    "LISTENER": "envoy.config.listener.v3.Listener",
    "LISTENER_FILTER": "envoy.config.listener.v3.ListenerFilter",
    "FILTER_CHAIN": "envoy.config.listener.v3.FilterChain",
    "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
    "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    "CLUSTER": "envoy.config.cluster.v3.Cluster",
    "ROUTE_CONFIGURATION": "envoy.config.route.v3.RouteConfiguration",
    "VIRTUAL_HOST": "envoy.config.route.v3.VirtualHost",
    "HTTP_ROUTE": "envoy.config.route.v3.Route",
    "EXTENSION_CONFIG": "envoy.config.core.v3.TypedExtensionConfig",
    "BOOTSTRAP": "envoy.config.bootstrap.v3.Bootstrap",
}
_OPERATIONS: Mapping[str, frozenset[str]] = {
    "LISTENER": _MEMBER,
    "LISTENER_FILTER": _ALL,
    "FILTER_CHAIN": _MEMBER,
    "NETWORK_FILTER": _ALL,
    "HTTP_FILTER": _ALL,
    "CLUSTER": _MEMBER,
    "ROUTE_CONFIGURATION": MERGES,
    "VIRTUAL_HOST": _MEMBER,
    "HTTP_ROUTE": _MEMBER | _INSERTS,
    "EXTENSION_CONFIG": frozenset(("ADD",)),
    "BOOTSTRAP": MERGES,
}
_FILTERS = frozenset(("LISTENER_FILTER", "NETWORK_FILTER", "HTTP_FILTER", "EXTENSION_CONFIG"))
_OPTIONS = re2.Options()
_OPTIONS.max_mem = 1 << 18  # as of those in objects
_OPTIONS.log_errors = False
_IN_PARENTHESES = re.compile(r"\([^()]*\)")


class PatchValue(NamedTuple):
    """The value of a patch, encoded, where it can be used, and what is wrong with it: fields are relative to the patch's ``patch``."""

    value: bytes | None
    cleared: tuple[Trail, ...] = ()
    faults: tuple[ValueFault, ...] = ()


def message_of(apply_to: str, value: bytes) -> Message:
    """Return the message ``value`` of a patch to ``apply_to``."""
    kind = message_class(_KINDS[apply_to])
    if kind is None:
        raise LookupError(_KINDS[apply_to])
    return kind.FromString(value)


@lru_cache(maxsize=128)
def patch_value(apply_to: str, operation: str, value: str | None) -> PatchValue:
    """Return what the patch ``value``, JSON, is to ``apply_to``."""
    if operation not in _OPERATIONS[apply_to]:
        possible = ", ".join(sorted(_OPERATIONS[apply_to]))
        return _refused("operation", f"{operation} is nothing for {apply_to}: expected one of {possible}")
    if operation == "REMOVE":
        return PatchValue(b"")
    document = json.loads(value) if value else {}
    if apply_to in _FILTERS and (foreign := _foreign(document)):
        return _refused(*foreign)
    kind = message_class(_KINDS[apply_to])
    if kind is None:
        return _refused("value", f"no message {_KINDS[apply_to]} is known here")
    reading = read_message(kind, document, "value")
    faults = reading.faults
    if all(fault.passed_on for fault in faults):
        faults += (*_broken(reading.message, merges=operation in MERGES), *_bad_expressions(reading.message))
    if apply_to in _FILTERS and operation not in MERGES and not faults:
        faults += tuple(_without_config(reading.message))
    usable = all(fault.passed_on for fault in faults)
    return PatchValue(encode(reading.message) if usable else None, reading.cleared, faults)


def _refused(path: str, message: str) -> PatchValue:
    return PatchValue(None, (), (ValueFault(path, message),))


def _foreign(document: Mapping[str, object]) -> tuple[str, str] | None:
    """Return what is to be said where ``document`` is a filter that only Istio's proxies have, and of which field."""
    name = document.get("name")
    if isinstance(name, str) and (instead := instead_of(name)):
        return "value.name", f"{name} is a filter of Istio's own proxies, which no stock Envoy has: {instead}"
    config = document.get("typed_config", document.get("typedConfig"))
    while isinstance(config, dict):
        for field in ("type_url", "typeUrl", "@type"):
            text = config.get(field)
            if isinstance(text, str) and (instead := instead_of(type_name(text))):
                return "value.typed_config", f"{type_name(text)} is of a filter of Istio's own proxies, which no stock Envoy has: {instead}"
        config = config.get("value")
    return None


def _broken(message: Message, *, merges: bool) -> Iterator[ValueFault]:
    for violation in violations_of_part(message) if merges else violations(message):
        path, _, expected = violation.partition(": ")
        yield ValueFault(f"value.{_IN_PARENTHESES.sub('', path)}", expected)


def _bad_expressions(message: Message) -> Iterator[ValueFault]:
    """Yield the regular expressions in ``message`` that Envoy does not understand: it would refuse all that they stand in."""
    for each in messages_in(message):
        if isinstance(each, RegexMatcher):
            try:
                re2.compile(each.regex, _OPTIONS)
            except re2.error:
                yield ValueFault("value", f"expected an RE2 regular expression, found {each.regex[:80]!r}")


def _without_config(message: Message) -> Iterator[ValueFault]:
    """Yield that a filter has no configuration: Envoy finds filters by the type of it."""
    there = {field.name for field, _ in message.ListFields()}
    config = getattr(message, "typed_config", None)
    if isinstance(config, AnyMessage) and not config.type_url and "config_discovery" not in there:
        yield ValueFault("value.typed_config", "expected a configuration with its @type, by which Envoy finds the filter")
