"""``navarch version``."""

from __future__ import annotations

import importlib.metadata
import platform

import typer


def version() -> None:
    """Print the version of Navarch and of its Python.

    For example: navarch version
    """
    try:
        installed = importlib.metadata.version("navarch")
    except importlib.metadata.PackageNotFoundError:
        installed = "not installed (run from its sources)"
    typer.echo(f"navarch {installed} (Python {platform.python_version()})")
