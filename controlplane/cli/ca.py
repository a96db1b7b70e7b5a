"""``navarch ca``: the authority of the file mode."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.options import Output
from controlplane.cli.tables import print_table

if TYPE_CHECKING:
    from controlplane.ca.keeper import Keeper
    from controlplane.ca.state import State

app = typer.Typer(
    name="ca",
    help="Show, export and rotate the authority that signs the certificates of workloads, where a folder keeps it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_Folder: TypeAlias = Annotated[str, typer.Option("--state", metavar="DIR", help="The folder that navarch serve --state keeps it in.")]
_Admins: TypeAlias = Annotated[
    list[str] | None, typer.Option("--admin", metavar="HOST:PORT", help="The admin API of each control plane that uses it.")
]
_Offline: TypeAlias = Annotated[bool, typer.Option("--offline", help="No control plane uses it now: nobody has to be asked.")]
_ADMIN = "127.0.0.1:15014"


@app.command()
def show(state: _Folder, output: Annotated[Output, typer.Option("--output", "-o", help="How it is printed.")] = Output.TABLE) -> None:
    """Say who signs, who is trusted, until when, and how far a rotation is."""
    found = _keeper(state).state
    rows = [
        {
            "root": each.fingerprint[:16],
            "signs": each is found.signing,
            "expires": each.signer.certificate.not_valid_after_utc.isoformat(),
        }
        for each in found.issuers
    ]
    if output is Output.JSON:
        typer.echo(json.dumps({"phase": found.phase.value, "bundle": found.bundle_id, "roots": rows}))
        return
    typer.echo(f"{found.phase.value}; bundle {found.bundle_id}")
    print_table(("root", "signs", "expires"), [(str(each["root"]), "yes" if each["signs"] else "", str(each["expires"])) for each in rows])


@app.command()
def root(state: _Folder) -> None:
    """Print the roots that everybody is to trust, as PEM.

    For example:

      navarch ca root --state ./state > root-cert.pem
    """
    typer.echo(_keeper(state).state.bundle.decode(), nl=False)


@app.command()
def prepare(state: _Folder) -> None:
    """First of three: make a new root with a new key, and have it trusted beside the old one."""
    from controlplane.ca.state import issuer
    from controlplane.ca.state import prepare as prepared
    from controlplane.serve.trust import make_key, now

    _step(state, lambda found: prepared(found, issuer(make_key(), now())))


@app.command()
def activate(state: _Folder, admin: _Admins = None, offline: _Offline = False) -> None:
    """Second of three: sign by the new root, once every proxy trusts it."""
    from controlplane.ca.state import activate as activated

    _step(state, lambda found: activated(found, _waiting(found, admin, "bundle", offline=offline)))


@app.command()
def retire(state: _Folder, admin: _Admins = None, offline: _Offline = False) -> None:
    """Third of three: trust the old root no more, once no proxy has a certificate by it."""
    from controlplane.ca.state import retire as retired

    _step(state, lambda found: retired(found, _waiting(found, admin, "certificate", offline=offline)))


def _keeper(state: str) -> Keeper:
    from controlplane.ca.folder import Folder
    from controlplane.ca.keeper import Keeper
    from controlplane.errors import NavarchError
    from controlplane.serve.trust import make_key, now

    keeper = Keeper(Folder(Path(state)), make_key, now)
    try:
        asyncio.run(keeper.open())
    except NavarchError as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(2) from None
    return keeper


def _step(state: str, change: Callable[[State], State]) -> None:
    from controlplane.errors import NavarchError

    keeper = _keeper(state)
    try:
        found = asyncio.run(keeper.step(change))
    except NavarchError as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{found.phase.value}; bundle {found.bundle_id}")


def _waiting(state: State, admins: list[str] | None, what: str, *, offline: bool) -> int:
    """Return for how many proxies the next phase would be too early, as the control planes know."""
    from controlplane.ca.state import OutOfOrder

    count = 0
    for each in () if offline else admins or [_ADMIN]:
        try:
            with urllib.request.urlopen(f"http://{each}/v1/identity", timeout=10) as answer:
                found = json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise OutOfOrder(f"the control plane at {each} cannot be asked ({error}); --admin says where it is, or --offline") from error
        if found["bundle"] != state.bundle_id or found["phase"] != state.phase.value:
            raise OutOfOrder(f"the control plane at {each} has another state of the authority: try again in a second")
        count += int(found["waitingFor"][what])
    return count
