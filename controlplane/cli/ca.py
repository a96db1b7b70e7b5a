"""``navarch ca``: the authority, in a folder or in a cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.authority import AuthorityLocation, OpenAuthority, ReplicaReport, ask_authority, combined_report
from controlplane.cli.options import Output
from controlplane.cli.tables import print_table

if TYPE_CHECKING:
    from controlplane.ca.rotation import AuthorityState

app = typer.Typer(
    name="ca",
    help="Show, export and rotate the authority that signs the certificates of workloads: of a cluster, or where a folder keeps it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Folder: TypeAlias = Annotated[
    str | None, typer.Option("--state", metavar="DIR", help="The folder of navarch serve --state. Default: the cluster's Secret.")
]
_Kubeconfig: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE", help="How the API server is reached. Default: as kubectl does.")
]
_Context: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="The context of the kubeconfig.")]
_Namespace: TypeAlias = Annotated[str, typer.Option("--namespace", "-n", metavar="NS", help="Where the control plane runs.")]
_Admins: TypeAlias = Annotated[
    list[str] | None, typer.Option("--admin", metavar="HOST:PORT", help="The admin API of each control plane that uses the folder.")
]
_Offline: TypeAlias = Annotated[bool, typer.Option("--offline", help="No control plane uses it now: nobody has to be asked.")]
_ADMIN = "127.0.0.1:15014"
_HOME = "navarch-system"


@app.command()
def show(
    state: _Folder = None,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
    namespace: _Namespace = _HOME,
    admin: _Admins = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How it is printed.")] = Output.TABLE,
) -> None:
    """Say who signs, who is trusted, until when, how far a rotation is, and what it waits for."""

    async def look(opened: OpenAuthority) -> tuple[AuthorityState, tuple[ReplicaReport, ...]]:
        return opened.manager.state, await opened.reports(admin or [])

    authority, reports = ask_authority(AuthorityLocation(state, kubeconfig, context, namespace), look)
    rows = [
        {
            "root": issuer.fingerprint[:16],
            "signs": issuer is authority.signing,
            "expires": issuer.signer.certificate.not_valid_after_utc.isoformat(),
        }
        for issuer in authority.issuers
    ]
    waiting = _reasons_to_wait(authority, reports)
    if output is Output.JSON:
        typer.echo(json.dumps({"phase": authority.phase.value, "bundle": authority.bundle_id, "roots": rows, "waitingFor": waiting}))
        return
    typer.echo(f"{authority.phase.value}; bundle {authority.bundle_id}")
    print_table(("root", "signs", "expires"), [(str(row["root"]), "yes" if row["signs"] else "", str(row["expires"])) for row in rows])
    for reason in waiting:
        typer.echo(f"waits for {reason}")


@app.command()
def root(state: _Folder = None, kubeconfig: _Kubeconfig = None, context: _Context = None, namespace: _Namespace = _HOME) -> None:
    """Print the roots that everybody is to trust, as PEM.

    For example:

      navarch ca root --state ./state > root-cert.pem
    """
    typer.echo(ask_authority(AuthorityLocation(state, kubeconfig, context, namespace), _state).bundle.decode(), nl=False)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is made; it must not be there.")],
    state: _Folder = None,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
    namespace: _Namespace = _HOME,
) -> None:
    """Write who signs, WITH THE KEY, as files that navarch serve --ca-certs and Istio's Secret cacerts take.

    For example:

      navarch ca export ./cacerts
    """
    from controlplane.ca.file_store import naming
    from controlplane.ca.rotation import exported_files

    files = exported_files(ask_authority(AuthorityLocation(state, kubeconfig, context, namespace), _state))
    try:
        folder.mkdir(mode=0o700)
        for name, content in files.items():
            with naming(folder / name), os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
    except OSError as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote {', '.join(files)} to {folder}")


@app.command()
def prepare(state: _Folder = None, kubeconfig: _Kubeconfig = None, context: _Context = None, namespace: _Namespace = _HOME) -> None:
    """First of three: make a new root with a new key, and have it trusted beside the old one."""
    from controlplane.ca.rotation import new_issuer
    from controlplane.ca.rotation import prepare as prepared
    from controlplane.serve.identity import make_key, now

    location = AuthorityLocation(state, kubeconfig, context, namespace)
    _step(location, None, lambda authority, _: prepared(authority, new_issuer(make_key(), now())))


def _add_step_command(name: str, summary: str, change: Callable[[AuthorityState, ReplicaReport], AuthorityState]) -> None:
    """Add the command ``name``: the step ``change``, once the control planes have said that it is not too early."""

    def command(
        state: _Folder = None,
        kubeconfig: _Kubeconfig = None,
        context: _Context = None,
        namespace: _Namespace = _HOME,
        admin: _Admins = None,
        offline: _Offline = False,
    ) -> None:
        _step(AuthorityLocation(state, kubeconfig, context, namespace), None if offline else admin or [_ADMIN], change)

    app.command(name, help=summary)(command)


def _activate_step(authority: AuthorityState, report: ReplicaReport) -> AuthorityState:
    from controlplane.ca.rotation import activate

    return activate(authority, report.without_bundle, report.namespaces)


def _retire_step(authority: AuthorityState, report: ReplicaReport) -> AuthorityState:
    from controlplane.ca.rotation import retire

    return retire(authority, report.without_certificate)


_add_step_command("activate", "Second of three: sign by the new root, once every proxy trusts it.", _activate_step)
_add_step_command("retire", "Third of three: trust the old root no more, once no proxy has a certificate by it.", _retire_step)


def _step(
    location: AuthorityLocation, admins: Sequence[str] | None, change: Callable[[AuthorityState, ReplicaReport], AuthorityState]
) -> None:
    async def step(opened: OpenAuthority) -> AuthorityState:
        reports = () if admins is None else await opened.reports(admins)
        return await opened.manager.step(lambda authority: change(authority, combined_report(authority, reports)))

    authority = ask_authority(location, step)
    typer.echo(f"{authority.phase.value}; bundle {authority.bundle_id}")


async def _state(opened: OpenAuthority) -> AuthorityState:
    return opened.manager.state


def _reasons_to_wait(state: AuthorityState, reports: Sequence[ReplicaReport]) -> list[str]:
    from controlplane.ca.rotation import OutOfOrder, Phase

    try:
        report = combined_report(state, reports)
    except OutOfOrder as error:
        return [str(error)]
    if state.phase is Phase.PREPARED:
        counts = {"proxies to accept the new bundle": report.without_bundle, "namespaces to have it": report.namespaces}
    else:
        counts = {"proxies to have a certificate by the new root": report.without_certificate} if state.phase is Phase.ACTIVATED else {}
    return [f"{count} {what}" for what, count in counts.items() if count]
