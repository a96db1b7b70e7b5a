"""``navarch inject``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from controlplane.cli.options import Patches, Paths, bootstrap_patches, decode_text, injection_settings, read_text

_NamespaceLabels: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace-label",
        metavar="KEY=VALUE",
        help="A label of namespaces that are not among the manifests, instead of istio-injection=enabled. Can be given several times.",
    ),
]


def inject(
    filename: Paths,
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NS", help="Of objects that name none.")] = "default",
    label: _NamespaceLabels = None,
    mesh_config: Annotated[
        str | None, typer.Option(metavar="FILE", help="The ConfigMap istio with the mesh's settings, unless it is among the manifests.")
    ] = None,
    injection: Annotated[str | None, typer.Option(metavar="FILE", help="The settings of injection, as navarch serve has them.")] = None,
    patches: Patches = None,
) -> None:
    """Print manifests with a proxy in every pod that is to have one.

    The result is what the webhook makes of the same pods. All other documents are printed as they are. Exits 1, and prints no manifest, if
    one of them cannot be read, or asks for a proxy in a way that cannot be.

    For example:

      navarch inject -f deployment.yaml | kubectl apply -f -

      helm template ./chart | navarch inject -f - --injection injection.yaml
    """
    from controlplane.inject.inject import InjectionContext
    from controlplane.inject.manifests import ManifestFile, NamespaceDefaults, inject_manifests

    sheets = [ManifestFile(name, text) for path in filename for name, text in _texts(path)]
    beside = [ManifestFile(mesh_config, read_text(mesh_config))] if mesh_config else []
    defaults = NamespaceDefaults(namespace=namespace, labels=_labels(label))
    result = inject_manifests(
        sheets, InjectionContext(settings=injection_settings(injection), patches=bootstrap_patches(patches)), defaults, beside=beside
    )
    for message in (*result.notes, *result.problems):
        typer.echo(message, err=True)
    if result.problems:
        raise typer.Exit(1)
    typer.echo(result.text, nl=False)


def _labels(options: list[str] | None) -> dict[str, str] | None:
    from controlplane.objects.types.names import label_error

    if options is None:
        return None
    pairs = [option.partition("=") for option in options]
    for key, equals, value in pairs:
        fault = label_error(key, value) if equals else "expected KEY=VALUE"
        if fault:
            raise typer.BadParameter(fault, param_hint="--namespace-label")
    return {key: value for key, _, value in pairs}


def _texts(path: str) -> list[tuple[str, str]]:
    """Return the manifests at ``path``, each with its name."""
    from controlplane.sources.files import reading
    from controlplane.sources.files.once import STDIN

    if path == STDIN:
        return [("standard input", decode_text("standard input", sys.stdin.buffer.read(reading.MAX_BYTES + 1)))]
    if Path(path).is_dir():
        return [(file, read_text(file)) for file in reading.manifest_files(path)]
    return [(path, read_text(path))]
