"""What Telemetries must keep to.

https://istio.io/latest/docs/reference/config/telemetry/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.model.access_logs.formats import operators
from controlplane.model.telemetry.label_formats import label_format, unknown_attribute
from controlplane.objects.extensions.telemetry import AccessLogging, MetricsOverrides, TagOverride, Telemetry
from controlplane.objects.telemetry.rules import check_cel, check_format, check_tag
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selector_rules import check_attachment

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NOT_COUNTED = ("GRPC_REQUEST_MESSAGES", "GRPC_RESPONSE_MESSAGES")


def check(telemetry: Telemetry) -> Iterator[Finding]:
    """Yield what is wrong with ``telemetry``."""
    spec = telemetry.spec
    yield from check_attachment(spec)
    for index, tracing in enumerate(spec.tracing):
        for name, tag in tracing.custom_tags.items():
            yield from check_tag(f"spec.tracing[{index}].customTags.{name}", tag)
    for index, metrics in enumerate(spec.metrics):
        for override_index, overrides in enumerate(metrics.overrides):
            yield from _overrides(f"spec.metrics[{index}].overrides[{override_index}]", overrides)
    for index, logging in enumerate(spec.access_logging):
        yield from _logging(f"spec.accessLogging[{index}]", logging)


def _overrides(path: str, overrides: MetricsOverrides) -> Iterator[Finding]:
    match = overrides.match
    if match is not None and match.metric is not None and match.custom_metric is not None:
        yield rules.conflict(f"{path}.match", "expected one of metric and customMetric, found both")
    if match is not None and match.metric in _NOT_COUNTED:
        message = "Envoy cannot count messages by labels: nothing comes of this"
        yield rules.warning(f"{path}.match.metric", "NotTranslated", message)
    for name, override in overrides.tag_overrides.items():
        if not _LABEL.fullmatch(name):
            yield rules.out_of_range(f"{path}.tagOverrides", "names of labels: letters, digits and _, and no digit first", name)
        yield from _override(f"{path}.tagOverrides.{name}.value", override)


def _override(path: str, override: TagOverride) -> Iterator[Finding]:
    if override.operation == "UPSERT" and not override.value:
        yield rules.required(path, "a value with an operation of UPSERT")
    if override.operation == "UPSERT" and override.value:
        yield from _label(path, override.value)
    if override.operation == "REMOVE" and "value" in override.model_fields_set:
        yield rules.conflict(path, "expected no value with an operation of REMOVE")


def _label(path: str, expression: str) -> Iterator[Finding]:
    """Yield what is wrong with ``expression``, which a label is set to."""
    text = label_format(expression)
    if [operator.written for operator in operators(text)] != [text]:
        yield rules.out_of_range(path, "an expression on one line, without ')%'", expression)
        return
    yield from check_format(path, text)
    if attribute := unknown_attribute(expression):
        message = f"stock Envoy has no {attribute[:80]} within an expression: where it counts, the label is unknown"
        yield rules.warning(path, "NotTranslated", message)


def _logging(path: str, logging: AccessLogging) -> Iterator[Finding]:
    if logging.filter is not None and not logging.filter.expression:
        yield rules.required(f"{path}.filter.expression", "an expression")
    elif logging.filter is not None:
        yield from check_cel(f"{path}.filter.expression", logging.filter.expression)
