"""Where the control plane sends its traces: by the flag, or by OpenTelemetry's variables."""

from __future__ import annotations

import pytest
import typer

from controlplane.cli.options import trace_settings
from controlplane.settings import OwnTraceSettings

ENDPOINT, OF_TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
COLLECTOR = "http://collector:4318"


@pytest.mark.parametrize(
    ("url", "environment", "endpoint"),
    [
        (None, {}, None),
        (COLLECTOR, {}, f"{COLLECTOR}/v1/traces"),
        (f"{COLLECTOR}/below/", {}, f"{COLLECTOR}/below/v1/traces"),
        (None, {ENDPOINT: COLLECTOR}, f"{COLLECTOR}/v1/traces"),
        (None, {OF_TRACES: "https://tempo/otlp"}, "https://tempo/otlp"),
        (None, {OF_TRACES: "https://tempo/otlp", ENDPOINT: COLLECTOR}, "https://tempo/otlp"),
        ("http://own", {OF_TRACES: "https://tempo/otlp"}, "http://own/v1/traces"),
        (None, {ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "true"}, None),
        (None, {ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, None),
        ("http://own", {"OTEL_SDK_DISABLED": "true"}, "http://own/v1/traces"),
    ],
)
def test_where_they_go(url: str | None, environment: dict[str, str], endpoint: str | None) -> None:
    settings = trace_settings(url, environment)

    assert (settings.endpoint if settings else None) == endpoint


def test_what_else_the_variables_say() -> None:
    said = {"HEADERS": "x-key=a%20b, x-other=1", "TIMEOUT": "1500", "TRACES_TIMEOUT": "2500", "CERTIFICATE": "/roots.pem"}

    settings = trace_settings(COLLECTOR, {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in said.items()})

    assert settings == OwnTraceSettings(
        endpoint=f"{COLLECTOR}/v1/traces", headers=(("x-key", "a b"), ("x-other", "1")), timeout_s=2.5, roots="/roots.pem"
    )


@pytest.mark.parametrize(
    ("url", "environment", "message"),
    [
        ("collector:4318", {}, "expected the URL of who takes OTLP by HTTP"),
        ("ftp://collector", {}, "expected the URL of who takes OTLP by HTTP"),
        (None, {ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "found grpc"),
        (COLLECTOR, {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "expected milliseconds"),
    ],
)
def test_what_cannot_be_is_told(url: str | None, environment: dict[str, str], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        trace_settings(url, environment)
