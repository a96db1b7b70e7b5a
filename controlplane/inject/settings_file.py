"""The operator's settings of injection, from a file of YAML: every field of InjectionSettings, in lowerCamelCase.

docs/injection.md names them; a test compares it with this.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from controlplane.errors import UserError
from controlplane.inject import annotation_values
from controlplane.inject.annotation_values import BadValue
from controlplane.inject.label_selector import BadSelector, label_selector
from controlplane.model.hosts import is_ip
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.types.names import is_label, is_subdomain
from controlplane.objects.types.scalars import MAX_PORT, Bool, Model, Text
from controlplane.objects.types.validation_errors import findings
from controlplane.settings import InjectionSettings


class BadSettingsFile(UserError, ValueError):
    """Settings that cannot be used: which fields, and what was expected."""


def _checked_image(text: str) -> str:
    try:
        return annotation_values.image(text)
    except BadValue as error:
        raise PydanticCustomError("image", "{why}", {"why": str(error)}) from error


def _selector(text: str) -> str:
    try:
        label_selector(text)
    except BadSelector as error:
        raise PydanticCustomError("selector", "{why}", {"why": str(error)}) from error
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (is_subdomain(host) and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT):
        raise PydanticCustomError("address", "expected NAME:PORT, as navarch.navarch-system.svc:15012")
    return text


def _label(text: str) -> str:
    if not is_label(text):
        raise PydanticCustomError("label", "expected letters, digits and '-'")
    return text


def _ip(text: str) -> str:
    if not is_ip(text):
        raise PydanticCustomError("ip", "expected an IP address")
    return text


_Image = Annotated[Text, AfterValidator(_checked_image)]
_Selectors = tuple[Annotated[Text, AfterValidator(_selector)], ...]
_Label = Annotated[Text, AfterValidator(_label)]


class _SettingsFile(Model):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    proxy_image: _Image | None = None
    init_image: _Image | None = None
    control_plane: Annotated[Text, AfterValidator(_address)] | None = None
    revision: _Label | None = None
    auto_inject: Bool | None = None
    never_inject: _Selectors | None = None
    always_inject: _Selectors | None = None
    native_sidecars: Bool | None = None
    cni: Bool | None = None
    node_addresses: tuple[Annotated[Text, AfterValidator(_ip)], ...] | None = None
    cluster: _Label | None = None
    audience: Text | None = None


def settings_from_yaml(text: str) -> InjectionSettings:
    """Return the settings that the YAML ``text`` says, the defaults where it says nothing; raises BadSettings."""
    try:
        composed = compose(text)
        fields = composed.value if composed else None
        if fields is not None and not isinstance(fields, dict):
            raise BadSettingsFile("expected a map of settings")
        file = _SettingsFile.model_validate(sanitized(fields or {}))
    except UnreadableError as error:
        raise BadSettingsFile(f"line {error.line + 1}: {error}") from error
    except InvalidJson as error:
        raise BadSettingsFile(f"{error.path}: {error}") from error
    except ValidationError as error:
        raise BadSettingsFile("; ".join(f"{finding.path}: {finding.message}" for finding in findings(error))) from error
    return InjectionSettings(**{name: value for name, value in file if value is not None})
