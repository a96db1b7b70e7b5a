"""Secrets and ConfigMaps, for the certificates, keys and authorities in them. They never enter the database, and their content no message.

https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, FrozenMap

CERTIFICATE = ("tls.crt", "cert")
KEY = ("tls.key", "key")
AUTHORITY = ("ca.crt", "cacert")
_READ = frozenset((*CERTIFICATE, *KEY, *AUTHORITY))


def _read(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise PydanticCustomError("held", "expected an object of texts")
    found = {name: text for name, text in value.items() if name in _READ}
    if not all(isinstance(text, str) for text in found.values()):
        raise PydanticCustomError("held", "expected an object of texts")
    return FrozenMap(found)


def _decoded(value: object) -> Mapping[str, bytes]:
    try:
        return FrozenMap({name: base64.b64decode("".join(text.split()), validate=True) for name, text in _read(value).items()})
    except (binascii.Error, ValueError):
        raise PydanticCustomError("held", "expected an object of texts in base64") from None


Plain = Annotated[Mapping[str, str], PlainValidator(_read)]
Encoded = Annotated[Mapping[str, bytes], PlainValidator(_decoded)]


class Secret(KubernetesObject):
    """What is to be kept from others."""

    data: Encoded = Field(default=EMPTY_MAP, repr=False)
    string_data: Plain = Field(default=EMPTY_MAP, repr=False)

    @cached_property
    def entries(self) -> Mapping[str, bytes]:
        """Return what matters of the content."""
        return FrozenMap({**self.data, **_as_bytes(self.string_data)})


class ConfigMap(KubernetesObject):
    """What anybody may know: here, authorities."""

    data: Plain = Field(default=EMPTY_MAP, repr=False)

    @cached_property
    def entries(self) -> Mapping[str, bytes]:
        """Return what matters of the content."""
        return FrozenMap(_as_bytes(self.data))


def _as_bytes(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in texts.items()}
