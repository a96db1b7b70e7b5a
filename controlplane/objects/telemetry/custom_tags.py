"""Tags of spans, as Telemetries and the settings of proxies have them.

https://istio.io/latest/docs/reference/config/telemetry/#Tracing-CustomTag
"""

from __future__ import annotations

from controlplane.objects.types.scalars import Model, Text
from controlplane.objects.types.selectors import Name


class LiteralTag(Model):
    """A value as it stands."""

    value: Name


class EnvironmentTag(Model):
    """A value from a variable of the proxy's environment."""

    name: Name
    default_value: Text = ""


class HeaderTag(Model):
    """A value from a header of the request."""

    name: Name
    default_value: Text = ""


class FormatterTag(Model):
    """A value in the format of access logs."""

    value: Name


class CustomTag(Model):
    """A tag of spans: at most one of its fields."""

    literal: LiteralTag | None = None
    environment: EnvironmentTag | None = None
    header: HeaderTag | None = None
    formatter: FormatterTag | None = None
