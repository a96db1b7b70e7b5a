"""What URLs in objects must keep to.

https://www.rfc-editor.org/rfc/rfc3986
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.scalars import MAX_PORT

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:[^@/?#\[\]]*@)?([a-z0-9._~%-]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?\Z", re.ASCII | re.IGNORECASE)
_PATH_AND_QUERY = re.compile(r"(?:[^\s%\x00-\x1f\x7f\\^`{|}<>\"#]|%[0-9a-f]{2})*\Z", re.IGNORECASE)
_WEB = ("http", "https")
_MODULES = ("http", "https", "file", "oci")


def web_url(path: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with ``text`` as the address of something on the web."""
    scheme = _scheme(text)
    rest = text[len(scheme) + 1 :]
    if scheme.lower() not in _WEB or not rest.startswith("//") or not _is_host_and_rest(rest[2:]):
        yield rules.out_of_range(path, "a URL such as https://example.com/keys", text)


def module_url(path: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with ``text`` as where a WebAssembly module is from; without a scheme it names an image."""
    scheme = _scheme(text)
    rest = text[len(scheme) + 1 :] if scheme else text
    if scheme:
        on_web = scheme.lower() in _WEB and rest.startswith("//")
        good = scheme.lower() in _MODULES and (_is_host_and_rest(rest[2:]) if on_web else _is_path_and_query(rest))
    else:
        good = _is_path_and_query(text) if text.startswith("/") else _is_host_and_rest(text)
    if not good:
        yield rules.out_of_range(path, "a URL with http, https, file or oci, or the name of an image", text)


def _scheme(text: str) -> str:
    match = _SCHEME.match(text)
    return match[1] if match else ""


def _is_host_and_rest(text: str) -> bool:
    """Return whether ``text`` is a host, perhaps with a port, and what follows it."""
    authority = re.split(r"[/?]", text, maxsplit=1)[0]
    match = _AUTHORITY.match(authority)
    return match is not None and int(match[2] or 0) <= MAX_PORT and _is_path_and_query(text[len(authority) :])


def _is_path_and_query(text: str) -> bool:
    return bool(_PATH_AND_QUERY.match(text))
