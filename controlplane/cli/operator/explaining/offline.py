"""What commands ask about, in manifests instead of a running control plane: with the code that serves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.operator.failures import CommandFailed

if TYPE_CHECKING:
    from controlplane.explain.offline import WrittenMesh

Manifests: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--filename",
        "-f",
        metavar="PATH",
        help="By these manifests (a file, a folder, or - for standard input), and not by a running control plane.",
    ),
]


def written_mesh(paths: list[str]) -> WrittenMesh:
    """Return the mesh that the manifests at ``paths`` make; raises CommandFailed where there is nothing in them."""
    from controlplane.explain.offline import WrittenMesh
    from controlplane.sources.files.once import read_manifests

    folder, changes = read_manifests(paths, sys.stdin.buffer)
    if not changes:
        raise CommandFailed(f"there is no object in {', '.join(paths)}: navarch validate says what is wrong with it")
    return WrittenMesh(changes, folder.location)
