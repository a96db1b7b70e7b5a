"""What is asked about: a request or a connection, from a proxy's application or from outside, as people write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from controlplane.errors import UserError

_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_PORTS = {"http": 80, "https": 443}
_MOST_PORT = 65535
MOST_CHARACTERS = 8192  # of a URL, and of all headers


class BadQuestion(UserError, ValueError):
    """What is asked about is none; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request (``method`` is not empty) or a connection to ``host``, a name or an address, and ``port``.

    ``tls`` is spoken by the client itself, with ``server_name``. ``source_ip`` and ``principal`` are of the client, as far as they are
    not those of the proxy's own workload.
    """

    host: str
    port: int
    method: str = ""
    path: str = "/"
    authority: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    tls: bool = False
    server_name: str = ""
    source_ip: str = ""
    principal: str = ""
    claims: Mapping[str, object] | None = None

    def __str__(self) -> str:
        """Return the question as it was asked."""
        if not self.method:
            return f"tcp {self.host}:{self.port}" + (f" with the server name {self.server_name}" if self.tls else "")
        return f"{self.method} {'https' if self.tls else 'http'}://{self.authority}{self.path}"


def request_question(
    method: str, url: str, headers: tuple[str, ...] = (), *, source_ip: str = "", server_name: str = "", principal: str = ""
) -> Question:
    """Return what ``method`` and ``url`` ask for, with ``headers`` as ``NAME: VALUE``; raises BadQuestion."""
    if not _METHOD.fullmatch(method):
        raise BadQuestion(f"expected a method, as GET, found {method[:40]!r}")
    if len(url) > MOST_CHARACTERS or sum(map(len, headers)) > MOST_CHARACTERS:
        raise BadQuestion(f"expected a URL, and headers, of at most {MOST_CHARACTERS} characters")
    try:
        split = urlsplit(url if "://" in url else f"http://{url}")
        host, port = split.hostname, split.port
    except ValueError as error:
        raise BadQuestion(f"expected a URL as http://web.shop:8080/path, found {url[:200]!r}: {error}") from None
    if split.scheme not in _PORTS or not host:
        raise BadQuestion(f"expected a URL as http://web.shop:8080/path, found {url[:200]!r}")
    pairs = tuple(map(_header, headers))
    named = next((value for name, value in pairs if name.lower() in {"host", ":authority"}), "")
    return Question(
        host=host,
        port=port or _PORTS[split.scheme],
        method=method.upper(),
        path=(split.path or "/") + (f"?{split.query}" if split.query else ""),
        authority=named or split.netloc.rpartition("@")[2],
        headers=tuple(pair for pair in pairs if pair[0].lower() not in {"host", ":authority"}),
        tls=split.scheme == "https",
        server_name=server_name or ("" if _is_ip(host) else host),
        source_ip=_checked_ip(source_ip),
        principal=spiffe(principal),
    )


def connection_question(target: str, *, source_ip: str = "", server_name: str = "", principal: str = "") -> Question:
    """Return the connection to ``target``, HOST:PORT; with a ``server_name`` it begins with TLS. Raises BadQuestion."""
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port[:6]) <= _MOST_PORT or len(host) > MOST_CHARACTERS:
        raise BadQuestion(f"expected HOST:PORT, found {target[:200]!r}")
    return Question(
        host=host.strip("[]"),
        port=int(port),
        tls=bool(server_name),
        server_name=server_name,
        source_ip=_checked_ip(source_ip),
        principal=spiffe(principal),
    )


def spiffe(principal: str) -> str:
    """Return ``principal`` as certificates have it: the scheme may be left out, as policies do."""
    return principal if not principal or "://" in principal else f"spiffe://{principal}"


def _header(text: str) -> tuple[str, str]:
    pseudo = text.startswith(":")
    name, colon, value = text[pseudo:].partition(":")
    name = f":{name}" if pseudo else name
    if not colon or not name.strip():
        raise BadQuestion(f"expected a header as 'NAME: VALUE', found {text[:80]!r}")
    return name.strip(), value.strip()


def _checked_ip(text: str) -> str:
    if text and not _is_ip(text):
        raise BadQuestion(f"expected an IP address to come from, found {text[:80]!r}")
    return text


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
