"""``navarch token``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def token(
    state: Annotated[str, typer.Option(metavar="DIR", help="The folder that navarch serve --state keeps its keys in.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NS", help="The namespace of the service account.")],
    service_account: Annotated[str, typer.Option("--service-account", metavar="SA", help="The service account.")] = "default",
    pod: Annotated[str, typer.Option(metavar="NAME", help="The pod that alone may show it; metrics of others name its workload.")] = "",
    audience: Annotated[str, typer.Option(metavar="NAME", help="For whom the token is.")] = "istio-ca",
    lifetime: Annotated[int, typer.Option(metavar="SECONDS", min=1, max=86_400, help="For how long it is good.")] = 3600,
) -> None:
    """Print a signed token that says who its bearer is, for control planes that serve files.

    It is of the same shape as a service account's token in Kubernetes, and a proxy shows it in the same way.

    For example:

      navarch token --state ./state --namespace shop --service-account cart > token
    """
    import asyncio
    import datetime as dt

    from controlplane.app.identity import SIGNING_KEY_FILE
    from controlplane.ca.file_store import FileStore
    from controlplane.ca.manager import stored_key
    from controlplane.ca.tokens import sign_token as signed
    from controlplane.cli.options import state_folder
    from controlplane.errors import NavarchError
    from controlplane.model.identity import Identity
    from controlplane.serve.identity import make_key, now

    try:
        Identity("cluster.local", namespace, service_account)
        key = asyncio.run(stored_key(FileStore(Path(state_folder(state, SIGNING_KEY_FILE)), SIGNING_KEY_FILE), make_key))
    except (NavarchError, ValueError) as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(signed(key, (namespace, service_account), audience, now(), dt.timedelta(seconds=lifetime), pod))
