"""What several commands ask the operator, and how mistakes in the answers are told: exit status 2, no traceback."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


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


def address(value: str, *, option: str) -> str:
    """Return ``value``, which ``option`` was given, if it is ``host:port``."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"expected HOST:PORT, found {value!r}", param_hint=option)
    return value


def folder(value: str, *, option: str) -> str:
    """Return ``value``, which ``option`` was given, if it is a folder that can be read."""
    if not Path(value).is_dir() or not os.access(value, os.R_OK | os.X_OK):
        raise typer.BadParameter(f"expected a folder that can be read, found {value!r}", param_hint=option)
    return value
