"""``navarch manifests``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.install.values import InstallValues


def manifests(
    values: Annotated[
        Path | None, typer.Option("--values", "-f", metavar="FILE", help="What to choose, as YAML: the values of the Helm chart.")
    ] = None,
    chosen: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Choose one value, in YAML; may come more than once.")
    ] = None,
    *,
    crds: Annotated[bool, typer.Option(help="Print the CustomResourceDefinitions too; leave them out where Istio's are installed.")] = True,
    show_values: Annotated[bool, typer.Option("--show-values", help="Print what can be chosen, with what holds where nothing is.")] = False,
) -> None:
    """Print everything that installs Navarch in a cluster, for kubectl apply.

    For example:

      navarch manifests --set image=registry.example.com/navarch:0.1.0 | kubectl apply --server-side -f -
    """
    import yaml

    from controlplane.install.objects import install_objects
    from controlplane.install.values_text import values_text
    from controlplane.objects.crds.definitions import definitions

    if show_values:
        typer.echo(values_text(), nl=False)
        return
    objects = install_objects(_values(values, chosen or []))
    kinds = definitions() if crds else ()
    typer.echo(yaml.safe_dump_all([*kinds, *objects], sort_keys=False, width=140), nl=False)


def _values(path: Path | None, chosen: list[str]) -> InstallValues:
    from controlplane.install.values_text import BadValues, read_values

    try:
        text = path.read_text() if path else ""
        return read_values(text, chosen)
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path}: expected text in UTF-8: {error}") from None
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    except BadValues as error:
        raise typer.BadParameter(str(error)) from None
