"""The address that a connection was going to, told to load balancers, so that a request goes to the endpoint that its client chose.

A client of a headless service looks its endpoints up and connects to one of them. Envoy tells filters that address in formats alone:
it is put into a header as the request comes in, in the place of any that the client sent, and from there into the metadata that load
balancers look at; the header goes no further. Clusters that are not chosen from by address do not look at it.
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
"""

from __future__ import annotations

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2 import Config
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import HeaderMutation

from controlplane.envoy.packing import pack
from controlplane.translate.addresses import ADDRESS_KEY, LOAD_BALANCING
from controlplane.translate.filters.base import HttpFilter

_HEADER = "x-navarch-chosen-address"


def note_address() -> TypedExtensionConfig:
    """Return what puts the address into the header, before any filter sees the request."""
    mutation = HeaderMutation()
    appended = mutation.mutations.add().append
    appended.header.key = _HEADER
    appended.header.value = "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"
    appended.append_action = appended.OVERWRITE_IF_EXISTS_OR_ADD
    return TypedExtensionConfig(name="envoy.http.early_header_mutation.header_mutation", typed_config=pack(mutation))


def _config() -> Config:
    config = Config()
    rule = config.request_rules.add(header=_HEADER, remove=True)
    rule.on_header_present.metadata_namespace = LOAD_BALANCING
    rule.on_header_present.key = ADDRESS_KEY
    rule.on_header_present.type = Config.STRING
    return config


CHOSEN_ADDRESS = HttpFilter("envoy.filters.http.header_to_metadata", lambda chain: (_config(),) if chain.by_address else ())
