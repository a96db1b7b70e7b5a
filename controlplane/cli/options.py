"""Options that several commands have; a mistake in one ends the command with exit status 2 and no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias
from urllib.parse import unquote, urlsplit

import typer

from controlplane.model.problems import Severity

if TYPE_CHECKING:
    from controlplane.settings import InjectionSettings, OwnTraceSettings
    from controlplane.translate.patches.bootstrap import BootstrapPatch


class Output(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    JSON = "json"


Paths: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--filename", "-f", metavar="PATH", help="A manifest, a folder of them, or - for standard input. Can be given several times."
    ),
]

OptionalPaths: TypeAlias = Annotated[
    list[str] | None, typer.Option("--filename", "-f", metavar="PATH", help="A manifest, a folder of them, or - for standard input.")
]

Patches: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--patches", metavar="PATH", help="Manifests with EnvoyFilters whose patches to BOOTSTRAP are applied. Several times."),
]

Traces: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--traces",
        metavar="URL",
        help="Send a trace of what becomes of each change here, by OTLP over HTTP. Default: as OTEL_EXPORTER_OTLP_ENDPOINT says.",
    ),
]
_OTLP = "OTEL_EXPORTER_OTLP"
_MOST_TIMEOUT_MS = 60_000


def address(value: str, *, option: str) -> str:
    """Return ``value``, which ``option`` was given, if it is ``host:port``."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port[:6]) > 65535:
        raise typer.BadParameter(f"expected HOST:PORT, found {value!r}", param_hint=option)
    return value


def plaintext_address(xds: str, *, insecure: bool) -> str:
    """Return ``xds``, which ``--xds`` was given, if it is of this machine alone, or ``insecure``."""
    checked = address(xds, option="--xds")
    host = checked.rpartition(":")[0].strip("[]")
    if not insecure and host != "localhost" and not host.startswith("127.") and host != "::1":
        raise typer.BadParameter(
            f"{checked} is in the clear, and not of this machine alone: use --xds-tls, or say --insecure", param_hint="--xds"
        )
    return checked


def folder(value: str, *, option: str) -> str:
    """Return ``value``, which ``option`` was given, if it is a folder that can be read."""
    if not Path(value).is_dir() or not os.access(value, os.R_OK | os.X_OK):
        raise typer.BadParameter(f"expected a folder that can be read, found {value!r}", param_hint=option)
    return value


def state_folder(value: str, file: str) -> str:
    """Return ``value``, which ``--state`` was given, if a control plane keeps ``file`` there: no command makes a new authority."""
    if not (Path(value) / file).exists():
        message = f"expected a folder that navarch serve --state keeps its keys in, and there is no {file} in {value!r}"
        raise typer.BadParameter(message, param_hint="--state")
    return value


def read_text(path: str) -> str:
    """Return the text of the file ``path``, which the operator has named; raises OSError."""
    from controlplane.sources.files.reading import MAX_BYTES

    with Path(path).open("rb") as file:
        return decode_text(path, file.read(MAX_BYTES + 1))


def decode_text(name: str, data: bytes) -> str:
    """Return ``data``, which came from ``name``, as text."""
    from controlplane.sources.files.reading import MAX_BYTES, decode_utf8

    decoded = decode_utf8(data) if len(data) <= MAX_BYTES else None
    if isinstance(decoded, str):
        return decoded
    raise typer.BadParameter(f"{name}: {decoded.reason if decoded else f'expected at most {MAX_BYTES} bytes'}")


def injection_settings(path: str | None) -> InjectionSettings:
    """Return the settings of injection in the file ``path``, the defaults where there is none."""
    from controlplane.inject.settings_file import BadSettingsFile, settings_from_yaml

    try:
        return settings_from_yaml(read_text(path) if path else "")
    except BadSettingsFile as error:
        raise typer.BadParameter(f"{path or 'defaults'}: {error}", param_hint="--injection") from None


def bootstrap_patches(paths: list[str] | None) -> tuple[BootstrapPatch, ...]:
    """Return the patches to what proxies are started with of the EnvoyFilters in ``paths``, and say which of them cannot be used."""
    if not paths:
        return ()
    from controlplane.mesh.mesh import Mesh
    from controlplane.mesh.patches.bootstraps import patches_at_start
    from controlplane.model.keys import ENVOY_FILTER
    from controlplane.objects.changes import split
    from controlplane.settings import EnvoyFilters
    from controlplane.sources.files.once import read_manifests

    mesh = Mesh(envoy_filters=EnvoyFilters.ALL)
    found, changes = read_manifests(paths, sys.stdin.buffer)
    mesh.apply(split(changes)[0])
    read = (located.problem for located in chain.from_iterable(found.problems_by_document()))
    for problem in dict.fromkeys((*read, *mesh.problems())):
        if problem.object is not None and problem.object.group_kind == ENVOY_FILTER and problem.severity is not Severity.INFO:
            typer.echo(f"navarch: {problem.object} {problem.field}: {problem.message}", err=True)
    return patches_at_start(mesh.database)


def trace_settings(url: str | None, environment: Mapping[str, str]) -> OwnTraceSettings | None:
    """Return where traces are sent by ``url``, else by the variables of OpenTelemetry; ``None`` where neither says so.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    from controlplane.settings import OwnTraceSettings

    def variable(name: str) -> str:
        return environment.get(f"{_OTLP}_TRACES_{name}") or environment.get(f"{_OTLP}_{name}") or ""

    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    endpoint = _endpoint(url, environment)
    if endpoint is None or (url is None and is_off):
        return None
    if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname:
        message = f"expected the URL of who takes OTLP by HTTP, as http://collector:4318, found {endpoint!r}"
        raise typer.BadParameter(message, param_hint="--traces" if url else f"{_OTLP}_ENDPOINT")
    if not url and variable("PROTOCOL") == "grpc":
        message = "expected http/json, or http/protobuf, whose receivers take JSON too; found grpc"
        raise typer.BadParameter(message, param_hint=f"{_OTLP}_PROTOCOL")
    timeout = variable("TIMEOUT") or "10000"
    if not timeout.isdecimal() or not 0 < int(timeout[:9]) <= _MOST_TIMEOUT_MS:
        message = f"expected milliseconds, at most {_MOST_TIMEOUT_MS}, found {timeout[:80]!r}"
        raise typer.BadParameter(message, param_hint=f"{_OTLP}_TIMEOUT")
    pairs = (part.partition("=") for part in variable("HEADERS").split(",") if part.strip())
    headers = tuple((name.strip(), unquote(value.strip())) for name, _, value in pairs)
    return OwnTraceSettings(endpoint=endpoint, headers=headers, timeout_s=int(timeout) / 1000, roots=variable("CERTIFICATE") or None)


def _endpoint(url: str | None, environment: Mapping[str, str]) -> str | None:
    own = None if url else environment.get(f"{_OTLP}_TRACES_ENDPOINT")
    base = url or environment.get(f"{_OTLP}_ENDPOINT")
    return own or (f"{base.rstrip('/')}/v1/traces" if base else None)
