"""``navarch bug-report``."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated

import typer

from controlplane.cli.operator.client import AdminClient, part
from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.failures import CommandFailed
from controlplane.untyped import text

PAGES = ("objects", "problems", "proxies", "history", "load", "identity", "refused-callers", "issuers", "modules")
KINDS = ("listeners", "routes", "clusters", "endpoints", "virtualhosts", "extensions")  # and no secrets
MOST_PROXIES = 100
LEFT_OUT = "[left out]"
_SECRET_FIELDS = re.compile(
    r"inline_?bytes|inline_?string|password|passwd|private_?key|token|secret$|secret_?value|authorization|api_?key|credential$|cookie",
    re.IGNORECASE,
)
_HEADERS = frozenset(("requestHeadersToAdd", "responseHeadersToAdd", "headersToAdd", "initialMetadata"))
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_To = Annotated[str, typer.Option("--to", metavar="FILE", help="Where it is written. Default: navarch-bug-report-<time>.tar.gz, here.")]


@asks_admin
def bug_report(target: AdminTarget, to: _To = "") -> None:
    """Write everything that a control plane knows into one archive, for who is to find out what is wrong; secrets are left out.

    Keys, passwords, tokens and the values of headers that proxies add are left out: by their fields' names, and by what they look like.
    Names of hosts, objects and pods are in it: look at it before it leaves your hands.

    For example: navarch bug-report --to report.tar.gz
    """
    now = dt.datetime.now(dt.UTC)
    path = to or f"navarch-bug-report-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    count = 0
    with tarfile.open(path, "w:gz") as archive:
        for client in target.clients:
            folder = re.sub(r"[^A-Za-z0-9.-]+", "-", client.name.removeprefix("http://")).strip("-")
            for name, content in _files(client):
                data = content().encode()
                entry = tarfile.TarInfo(f"navarch/{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(now.timestamp()), 0o600
                archive.addfile(entry, io.BytesIO(data))
                count += 1
    typer.echo(f"{path}: {count} files; look at them before you hand them on")


def _files(client: AdminClient) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the names of the files about the control plane of ``client``, and what makes their contents."""
    for page in PAGES:
        yield f"{page}.json", partial(_page, client, f"/v1/{page}")
    yield "metrics.txt", lambda: "\n".join(client.lines("/metrics", silent_s=30))
    for row in client.rows("/v1/proxies")[:MOST_PROXIES]:
        proxy_id = text(row, "id")
        for kind in KINDS:
            path = f"/v1/proxies/{part(proxy_id)}/config/{kind}"
            yield f"proxies/{proxy_id.replace('/', '_')}/{kind}.json", partial(_page, client, path)


def _page(client: AdminClient, path: str) -> str:
    try:
        return json.dumps(without_secrets(client.find(path)), indent=1)
    except CommandFailed as error:  # the rest is worth having
        return json.dumps({"error": str(error)})


def without_secrets(value: object, *, of_headers: bool = False) -> object:
    """Return ``value``, JSON, with what is or may be secret left out; ``of_headers``: it is of headers that are added."""
    if isinstance(value, dict):
        return {name: _field(str(name), each, of_headers=of_headers) for name, each in value.items()}
    if isinstance(value, list):
        return [without_secrets(each, of_headers=of_headers) for each in value]
    return _text_without_secrets(value) if isinstance(value, str) else value


def _field(name: str, value: object, *, of_headers: bool) -> object:
    if isinstance(value, str) and (_SECRET_FIELDS.search(name) or (of_headers and name == "value")):
        return LEFT_OUT
    return without_secrets(value, of_headers=of_headers or name in _HEADERS)


def _text_without_secrets(value: str) -> str:
    for form in (_PEM, _JWT, _USER_INFO):
        value = form.sub(LEFT_OUT, value)
    return value
