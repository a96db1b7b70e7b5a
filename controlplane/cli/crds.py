"""``navarch crds``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def crds(
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Write one file a kind into this folder instead of printing all.")
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions of every kind that is read.

    Where Istio's own are installed already, they are used as they are: ours are not needed then.

    For example:

      navarch crds | kubectl apply --server-side -f -
    """
    import yaml

    from controlplane.ca.file_store import naming
    from controlplane.objects.crds.definitions import definitions

    if output is None:
        typer.echo(yaml.safe_dump_all(definitions(), sort_keys=False, width=140), nl=False)
        return
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for definition in definitions():
        metadata = definition["metadata"]
        name = metadata["name"] if isinstance(metadata, dict) else ""
        path = folder / f"{name}.yaml"
        with naming(path):
            path.write_text(yaml.safe_dump(definition, sort_keys=False, width=140))
