"""The syntax of names: of objects, labels, hosts, ports and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.model.keys import Key
from controlplane.objects.types.findings import Finding

CLUSTER_SCOPED = ("Namespace", "Node")
# The methods of HTTP (RFC 9110), and PATCH (RFC 5789). There are others, but none that differs from these in case alone.
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"))
MAX_NAME = 253
MAX_HOST = 255
MAX_LABEL = 63
_LABEL = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?\Z")
_WILD_LABEL = re.compile(r"(\*|(\*-?)?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)\Z")
_LOWER_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_LABEL_KEY = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?\Z")
_LABEL_VALUE = re.compile(r"([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?\Z")
_DOTS = re.compile(r"/\.\.?(?=/|\Z)")
_HEADER = re.compile(r":?[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def check_name(key: Key) -> Iterator[Finding]:
    """Yield what is wrong with the name and the namespace of an object.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
    """
    if not key.name:
        yield Finding("metadata.name", "Required", "expected a name")
    elif not is_subdomain(key.name):
        expected = f"a name of lower-case letters, digits, '-' and '.', at most {MAX_NAME} characters"
        yield Finding("metadata.name", "OutOfRange", f"expected {expected}, found {key.name[:80]!r}")
    if key.namespace and not (len(key.namespace) <= MAX_LABEL and _LOWER_LABEL.match(key.namespace)):
        expected = f"a name of lower-case letters, digits and '-', at most {MAX_LABEL} characters"
        yield Finding("metadata.namespace", "OutOfRange", f"expected {expected}, found {key.namespace[:80]!r}")


def object_namespace(kind: str, written: str) -> str:
    """Return the namespace of an object of ``kind`` that has ``written`` as its own, which may be nothing."""
    return "" if kind in CLUSTER_SCOPED else written or "default"


def is_subdomain(text: str) -> bool:
    """Return whether ``text`` may name an object."""
    return len(text) <= MAX_NAME and bool(_SUBDOMAIN.match(text))


def is_label(text: str) -> bool:
    """Return whether ``text`` is one label of a DNS name (RFC 1123), in any case."""
    return len(text) <= MAX_LABEL and bool(_LABEL.match(text))


def is_fqdn(text: str) -> bool:
    """Return whether ``text`` is a DNS name without a wildcard; a dot may end it, digits alone may not."""
    *labels, last = text.removesuffix(".").split(".")
    return len(text) <= MAX_HOST and all(map(is_label, labels)) and is_label(last) and not last.isdecimal()


def is_header(text: str) -> bool:
    """Return whether ``text`` may name a header or a pseudo-header."""
    return bool(_HEADER.match(text))


def path_error(text: str, *, whole: bool) -> str | None:
    """Return why no path of a request is, or (not ``whole``) begins with, ``text``; ``None`` where one may.

    The query is no part of it, and it is in the form of RFC 3986 (sections 2.1 and 5.2.4) when it is looked at.
    """
    if "?" in text or "#" in text:
        return "expected a path without '?' and '#': the query is no part of it"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "expected a path as requests have it: '%20' for a space, UTF-8 as '%C3%A4'"
    if _DOTS.search(text if whole else f"{text}x"):
        return "expected a path without the segments '.' and '..', which are resolved before it is looked at"
    return None


def label_error(key: str, value: str) -> str | None:
    """Return what is wrong with a label of an object; ``None`` if nothing is."""
    prefix, slash, name = key.rpartition("/")
    if (slash and not is_subdomain(prefix)) or len(name) > MAX_LABEL or not _LABEL_KEY.match(name):
        return f"expected a label name such as app or example.com/app, found {key[:80]!r}"
    if len(value) > MAX_LABEL or not _LABEL_VALUE.match(value):
        return f"expected a label value of at most {MAX_LABEL} letters, digits, '-', '_' and '.', found {value[:80]!r}"
    return None


def host_error(host: str, *, wildcard: bool = True) -> str | None:
    """Return what is wrong with ``host`` as the name of hosts, ``None`` if nothing is: ``wildcard`` allows a star to begin it."""
    if not host:
        return "expected a host name"
    if len(host) > MAX_HOST:
        return f"expected a host name of at most {MAX_HOST} characters"
    first, dot, rest = host.partition(".")
    good = len(first.lstrip("*")) <= MAX_LABEL and bool((_WILD_LABEL if wildcard else _LABEL).match(first))
    if good and (not dot or not rest or is_fqdn(rest)):
        return None
    return f"expected a host name{', perhaps after *.' if wildcard else ' without a wildcard'}, found {host[:80]!r}"
