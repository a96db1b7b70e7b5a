"""``navarch ratelimit-config``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.options import Paths


def ratelimit_config(
    filename: Paths,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Write one file a domain into this folder instead of printing all.")
    ] = None,
) -> None:
    """Print what Envoy's rate limit service has to count for RateLimits that are global, as files that it reads.

    A service with CONFIG_TYPE=GRPC_XDS_SOTW is sent just this by the control plane, and each change of it: then no file is needed. For one
    that reads files, the folder is config of its RUNTIME_ROOT and RUNTIME_SUBDIRECTORY, and it sees new files by itself.

    Each RateLimit has the domain NAMESPACE/NAME. A descriptor has the rule, by its name or its position, and below it the value, where the
    rule has a limit for each value.

    For example:

      navarch ratelimit-config -f ./manifests

      navarch ratelimit-config -f ./manifests --output /srv/ratelimit/config
    """
    import yaml

    from controlplane.mesh.snapshot import counted_domains
    from controlplane.objects.locations import located_problems
    from controlplane.sources.files.once import read_manifests

    folder, changes = read_manifests(filename, sys.stdin.buffer)
    found = counted_domains(changes)
    for located in located_problems(found.problems, [folder]):
        problem = located.problem
        typer.echo(f"{located.location or ''} {problem.object or ''} {problem.field}: {problem.message}".strip(), err=True)
    if output is None:
        typer.echo(yaml.safe_dump_all(found.domains, sort_keys=False, width=140), nl=False)
        return
    _write(found.domains, Path(output))


def _write(domains: Iterable[Mapping[str, object]], folder: Path) -> None:
    """Write each of ``domains`` into a file of its own in ``folder``."""
    import yaml

    from controlplane.ca.file_store import naming

    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for domain in domains:
        path = folder / f"{str(domain['domain']).replace('/', '_')}.yaml"
        with naming(path):
            path.write_text(yaml.safe_dump(domain, sort_keys=False, width=140))
