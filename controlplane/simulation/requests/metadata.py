"""What of a connection or a request is told to load balancers: by headers that are set as it comes in, and by filters that read them.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/header_to_metadata_filter
https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.proto
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2 import Config
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from google.protobuf.struct_pb2 import Value

from controlplane.simulation.arrival import Arrival
from controlplane.simulation.extensions import unpacked
from controlplane.simulation.matching.head import Head
from controlplane.simulation.upstream.subsets import LOAD_BALANCER

_COMMAND = re.compile("%([A-Z_]+)%")

# What filters tell load balancers, by key.
Criteria = dict[str, Value]


def with_early_headers(extensions: Iterable[TypedExtensionConfig], head: Head, arrival: Arrival) -> Head | None:
    """Return ``head`` as ``extensions`` change it before anything else sees it; ``None`` where they do what is not simulated."""
    for extension in extensions:
        mutation = unpacked(extension.typed_config, HeaderMutation)
        if mutation is None:
            return None
        for each in mutation.mutations:
            changed = _without(head, each.remove) if each.remove else _with(head, each.append, arrival)
            if changed is None:
                return None
            head = changed
    return head


def _without(head: Head, name: str) -> Head:
    return replace(head, headers=tuple(header for header in head.headers if header[0] != name.lower()))


def _with(head: Head, option: HeaderValueOption, arrival: Arrival) -> Head | None:
    value = _formatted(option.header.value, arrival)
    if value is None:
        return None
    name, present = option.header.key.lower(), head.value(option.header.key) is not None
    match option.append_action:
        case HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD:
            head, wanted = _without(head, name), True
        case HeaderValueOption.OVERWRITE_IF_EXISTS:
            head, wanted = _without(head, name), present
        case HeaderValueOption.ADD_IF_ABSENT:
            wanted = not present
        case _:
            wanted = True
    return replace(head, headers=(*head.headers, (name, value))) if wanted else head


def _formatted(text: str, arrival: Arrival) -> str | None:
    """Return ``text`` with what it says of the connection; ``None`` where it says something else."""
    known = {
        "DOWNSTREAM_LOCAL_ADDRESS": str(arrival.local),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": arrival.local.ip,
        "DOWNSTREAM_LOCAL_PORT": str(arrival.local.port),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": arrival.source.ip,
        "REQUESTED_SERVER_NAME": arrival.server_name or "-",
    }
    if any(command not in known for command in _COMMAND.findall(text)):
        return None
    return _COMMAND.sub(lambda command: known[command[1]], text)


def criteria_from(config: Config, head: Head) -> Criteria | None:
    """Return what the filter of ``config`` tells load balancers of a request with ``head``; ``None`` where that is not simulated."""
    told: Criteria = {}
    for rule in config.request_rules:
        value = head.value(rule.header) if rule.header else None
        entry = rule.on_header_present if value is not None else rule.on_header_missing
        if entry.metadata_namespace != LOAD_BALANCER:
            continue  # it tells others, or nobody
        if rule.cookie or entry.type != Config.STRING or entry.encode or entry.HasField("regex_value_rewrite"):
            return None
        if text := entry.value or value:
            told[entry.key] = Value(string_value=text)
    return told
