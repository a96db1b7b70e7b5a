"""Drills in files, as a control plane is asked to run them."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from controlplane.untyped import Json


def read_drill(path: str) -> Json:
    """Return the document of the drill in the file ``path``, or standard input for ``-``. Raises BadParameter."""
    from controlplane.objects.reading.documents import documents

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--filename") from None
    found: list[Json] = []
    for document in documents(text):
        if document.problem is not None:
            raise typer.BadParameter(f"{path}:{document.problem_line}: {document.problem.message}", param_hint="--filename")
        if document.data is not None and document.data.get("kind") == "Drill":
            found.append(dict(document.data))
    if len(found) != 1:
        raise typer.BadParameter(f"{path}: expected one Drill, found {len(found)}", param_hint="--filename")
    return found[0]
