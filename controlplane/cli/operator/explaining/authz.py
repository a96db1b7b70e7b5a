"""``navarch authz``."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, ProxyName, asks_admin
from controlplane.cli.operator.explaining.answers import Claims, FromIp, Headers, ServerName, judgement
from controlplane.cli.operator.explaining.offline import Manifests
from controlplane.cli.operator.explaining.rendering import print_explanation
from controlplane.cli.operator.failures import WANTING
from controlplane.cli.operator.output import Form, OutputOption, show_data
from controlplane.untyped import text

Method = Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, …, or tcp: a connection without requests.", show_default=False)]
Path = Annotated[str, typer.Argument(metavar="PATH", help="The path, with a query if there is one.")]
From = Annotated[
    str, typer.Option("--from", metavar="PRINCIPAL", help="Who asks, as cluster.local/ns/shop/sa/web. Default: a client in plaintext.")
]
Port = Annotated[int | None, typer.Option("--port", metavar="NUMBER", min=1, max=65535, help="The port of the workload that is asked.")]
Host = Annotated[str, typer.Option("--host", metavar="NAME", help="The host that is asked for, with its port if it is named.")]


@asks_admin
def authz(
    target: AdminTarget,
    proxy: ProxyName,
    method: Method,
    path: Path = "/",
    principal: From = "",
    port: Port = None,
    host: Host = "localhost",
    header: Headers = None,
    from_ip: FromIp = "",
    sni: ServerName = "",
    claims: Claims = "",
    filename: Manifests = None,
    output: OutputOption = Form.TABLE,
) -> None:
    """Say whether PROXY lets a request in, and by which policy: mutual TLS, tokens, RBAC, in the order in which they judge.

    Exits 1 where it does not, or where that is not known.

    For example:

      navarch authz web.shop GET /orders --from cluster.local/ns/shop/sa/client --port 8080

      navarch authz -f ./manifests db.shop tcp --port 5432
    """
    from controlplane.explain.questions.answers import QuestionTexts

    of_request = method != "tcp"
    texts = QuestionTexts(
        method=method,
        target=f"http://{host}{path if path.startswith('/') else '/' + path}" if of_request else f"{host}:{port or 1}",
        headers="\n".join(header or ()),
        source_ip=from_ip,
        server_name=sni,
        principal=principal,
        claims=claims,
    )
    found = judgement(target, filename, proxy, texts, port)
    show_data(output, found, lambda: print_explanation(found))
    if text(found, "verdict") != "allowed":
        raise typer.Exit(WANTING)
