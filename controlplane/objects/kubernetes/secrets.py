"""Secrets and ConfigMaps: certificates, keys, authorities, passwords of registries. None is in the database, their content in no message.

https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from controlplane.model.keys import CONFIG_MAP, SECRET, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, FrozenMap

CERTIFICATE = ("tls.crt", "cert")
KEY = ("tls.key", "key")
AUTHORITY = ("ca.crt", "cacert")
REVOCATIONS = ("ca.crl", "crl")
DOCKER_CONFIG_JSON, DOCKER_CONFIG = ".dockerconfigjson", ".dockercfg"
_ENTRY_NAMES = frozenset((*CERTIFICATE, *KEY, *AUTHORITY, *REVOCATIONS, DOCKER_CONFIG_JSON, DOCKER_CONFIG))


def _relevant_entries(data: object) -> Mapping[str, str]:
    if not isinstance(data, dict):
        raise PydanticCustomError("secret_data", "expected an object of texts")
    entries = {name: text for name, text in data.items() if name in _ENTRY_NAMES}
    if not all(isinstance(text, str) for text in entries.values()):
        raise PydanticCustomError("secret_data", "expected an object of texts")
    return FrozenMap(entries)


def _decoded_entries(data: object) -> Mapping[str, bytes]:
    try:
        return FrozenMap({name: base64.b64decode("".join(text.split()), validate=True) for name, text in _relevant_entries(data).items()})
    except (binascii.Error, ValueError):
        raise PydanticCustomError("secret_data", "expected an object of texts in base64") from None


PlainEntries = Annotated[Mapping[str, str], PlainValidator(_relevant_entries)]
EncodedEntries = Annotated[Mapping[str, bytes], PlainValidator(_decoded_entries)]


class Secret(KubernetesObject):
    """A Secret, for its certificates, keys, authorities and passwords of registries."""

    group_kind: ClassVar[GroupKind] = SECRET

    data: EncodedEntries = Field(default=EMPTY_MAP, repr=False)
    string_data: PlainEntries = Field(default=EMPTY_MAP, repr=False)

    @cached_property
    def entries(self) -> Mapping[str, bytes]:
        """Return the certificates, keys and authorities of the content."""
        return FrozenMap({**self.data, **_as_bytes(self.string_data)})


class ConfigMap(KubernetesObject):
    """A ConfigMap, for its authorities."""

    group_kind: ClassVar[GroupKind] = CONFIG_MAP

    data: PlainEntries = Field(default=EMPTY_MAP, repr=False)

    @cached_property
    def entries(self) -> Mapping[str, bytes]:
        """Return the certificates, keys and authorities of the content."""
        return FrozenMap(_as_bytes(self.data))


def _as_bytes(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in texts.items()}
