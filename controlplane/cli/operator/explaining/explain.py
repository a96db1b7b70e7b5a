"""``navarch explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.explaining.answers import Claims, FromIp, Headers, Principal, ServerName, explanation, origins
from controlplane.cli.operator.explaining.offline import Manifests
from controlplane.cli.operator.explaining.rendering import print_explanation, print_origins
from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.output import Form, OutputOption, show_data

Words = Annotated[
    list[str], typer.Argument(metavar="PROXY METHOD URL | PROXY tcp HOST:PORT | resource PROXY TYPE NAME", show_default=False)
]
_RESOURCE = "resource"


@asks_admin
def explain(
    target: AdminTarget,
    words: Words,
    header: Headers = None,
    from_ip: FromIp = "",
    sni: ServerName = "",
    principal: Principal = "",
    claims: Claims = "",
    filename: Manifests = None,
    output: OutputOption = Form.TABLE,
) -> None:
    """Say where a request or a connection goes, and why: every decision of the proxies on its way, and what of yours has made it.

    PROXY is the one beside the application that asks, or the gateway that is asked: its pod, as client.default.
    Routes and policies that did not fit are named with the first condition that failed. With -f everything is read from manifests,
    and PROXY is a Pod among them.

    For example:

      navarch explain client.default GET http://web/api -H 'x-user: jane'

      navarch explain client.default tcp db.shop:5432

      navarch explain -f ./manifests client.default POST http://web.shop:8080/orders -o json

      navarch explain resource client.default cluster 'outbound|80||web.default.svc.cluster.local'
    """
    from controlplane.explain.questions.answers import QuestionTexts

    if words[0] == _RESOURCE and len(words) == 4:
        made = origins(target, filename, words[1], words[2], words[3])
        show_data(output, made, lambda: print_origins(made))
        return
    if len(words) != 3:
        raise CommandFailed("expected PROXY METHOD URL, or PROXY tcp HOST:PORT, or resource PROXY TYPE NAME; --help has examples")
    texts = QuestionTexts(
        method=words[1],
        target=words[2],
        headers="\n".join(header or ()),
        source_ip=from_ip,
        server_name=sni,
        principal=principal,
        claims=claims,
    )
    found = explanation(target, filename, words[0], texts)
    show_data(output, found, lambda: print_explanation(found))
