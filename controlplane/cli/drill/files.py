"""Drills in files, as a control plane is asked to run them: our own, and those of other tools."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from controlplane.drills.experiments.chaos_toolkit import ConvertedExperiment, NotConverted, converted_experiment, is_experiment
from controlplane.drills.experiments.litmus import converted_chaos_engine, is_chaos_engine
from controlplane.objects.reading.documents import documents
from controlplane.untyped import Json


@dataclass(frozen=True, slots=True)
class DrillFile:
    """A drill as a document, with what else there is to do where it was an ``experiment`` of Chaos Toolkit."""

    converted: ConvertedExperiment
    experiment: Json | None = None


def read_drill(path: str) -> DrillFile:
    """Return the drill in the file ``path``, or standard input for ``-``. Raises BadParameter."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--filename") from None
    found: list[DrillFile] = []
    for document in documents(text):
        if document.problem is not None:
            raise typer.BadParameter(f"{path}:{document.problem_line}: {document.problem.message}", param_hint="--filename")
        if document.data is not None:
            try:
                drill = _drill(document.data)
            except NotConverted as error:
                raise typer.BadParameter(f"{path}:{document.line}: {error}", param_hint="--filename") from None
            found += [drill] if drill else []
    if len(found) != 1:
        expected = "one Drill, experiment of Chaos Toolkit, or ChaosEngine of Litmus"
        raise typer.BadParameter(f"{path}: expected {expected}, found {len(found)}", param_hint="--filename")
    return found[0]


def _drill(data: Mapping[str, object]) -> DrillFile | None:
    if data.get("kind") == "Drill":
        return DrillFile(ConvertedExperiment(dict(data)))
    if is_chaos_engine(data):
        return DrillFile(converted_chaos_engine(data))
    return DrillFile(converted_experiment(data), dict(data)) if is_experiment(data) else None
