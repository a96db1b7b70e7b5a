"""The options of questions about traffic, and who answers them: manifests, or a running control plane."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.operator.connection import AdminTarget
from controlplane.cli.operator.explaining.offline import written_mesh
from controlplane.cli.operator.failures import CommandFailed
from controlplane.untyped import Json

if TYPE_CHECKING:
    from controlplane.explain.questions.answers import QuestionTexts

Headers: TypeAlias = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header of the request. Can be given several times.")
]
FromIp: TypeAlias = Annotated[str, typer.Option("--from-ip", metavar="IP", help="Where it comes from. Default: the proxy's own workload.")]
ServerName: TypeAlias = Annotated[str, typer.Option("--sni", metavar="NAME", help="The server name of a TLS handshake.")]
Principal: TypeAlias = Annotated[
    str,
    typer.Option("--principal", metavar="ID", help="The client's identity, as cluster.local/ns/shop/sa/web. Default: the proxy's own."),
]
Claims: TypeAlias = Annotated[
    str, typer.Option("--claims", metavar="JSON", help='What the token of the request says, taken as valid: {"iss": …, "sub": …}.')
]


def explanation(target: AdminTarget, filename: list[str] | None, proxy: str, texts: QuestionTexts) -> Json:
    """Return what becomes of what ``texts`` ask at ``proxy``; raises CommandFailed."""
    if not filename:
        client, proxy_id = target.proxy(proxy)
        return client.get("/v1/explain", proxy=proxy_id, **_parameters(texts))
    from controlplane.explain.offline import UnknownProxy
    from controlplane.explain.questions.answers import explanation_of
    from controlplane.explain.questions.question import BadQuestion
    from controlplane.explain.work import finished

    written = written_mesh(filename)
    try:
        return dict(finished(explanation_of(written.sight, written.session_named(proxy), texts)).row())
    except (BadQuestion, UnknownProxy) as error:
        raise CommandFailed(str(error)) from None


def judgement(target: AdminTarget, filename: list[str] | None, proxy: str, texts: QuestionTexts, port: int | None) -> Json:
    """Return whether ``proxy`` lets in what ``texts`` ask; raises CommandFailed."""
    if not filename:
        client, proxy_id = target.proxy(proxy)
        return client.get("/v1/authz", proxy=proxy_id, port=str(port) if port else None, **_parameters(texts))
    from controlplane.explain.offline import UnknownProxy
    from controlplane.explain.questions.answers import judgement_of
    from controlplane.explain.questions.question import BadQuestion
    from controlplane.explain.work import finished

    written = written_mesh(filename)
    try:
        return dict(finished(judgement_of(written.sight, written.session_named(proxy), texts, port)).row())
    except (BadQuestion, UnknownProxy) as error:
        raise CommandFailed(str(error)) from None


def origins(target: AdminTarget, filename: list[str] | None, proxy: str, kind: str, name: str) -> Json:
    """Return what a resource of ``proxy`` was made from; raises CommandFailed."""
    if not filename:
        client, proxy_id = target.proxy(proxy)
        return client.get("/v1/explain/resource", proxy=proxy_id, kind=kind, name=name)
    from controlplane.explain.offline import UnknownProxy
    from controlplane.explain.questions.answers import resource_origins
    from controlplane.explain.questions.question import BadQuestion

    written = written_mesh(filename)
    try:
        return dict(resource_origins(written.sight, written.session_named(proxy), kind, name))
    except (BadQuestion, UnknownProxy) as error:
        raise CommandFailed(str(error)) from None


def _parameters(texts: QuestionTexts) -> dict[str, str]:
    return {name: value for name, value in asdict(texts).items() if value}
