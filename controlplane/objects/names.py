"""The syntax of names: of objects, labels, hosts, ports and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.model.hosts import is_ip
from controlplane.model.keys import Key
from controlplane.objects.review import Finding

MAX_NAME = 253
MAX_LABEL = 63
MAX_PORT = 65535
_LABEL = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?\Z")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?\Z")
_HEADER = re.compile(r":?[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")


def check(key: Key) -> Iterator[Finding]:
    """Yield what is wrong with the name and the namespace of an object. https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"""
    if not is_subdomain(key.name):
        yield Finding("metadata.name", "Required" if not key.name else "OutOfRange", "expected a lower-case DNS name of at most 253 characters")
    if key.namespace and not is_dns_label(key.namespace):
        yield Finding("metadata.namespace", "OutOfRange", "expected a lower-case DNS label of at most 63 characters")


def is_subdomain(text: str) -> bool:
    """Return whether ``text`` may name an object."""
    return len(text) <= MAX_NAME and bool(_SUBDOMAIN.match(text))


def is_dns_label(text: str) -> bool:
    """Return whether ``text`` is a lower-case DNS label (RFC 1123)."""
    return len(text) <= MAX_LABEL and bool(_DNS_LABEL.match(text))


def is_header(text: str) -> bool:
    """Return whether ``text`` may name a header or a pseudo-header."""
    return bool(_HEADER.match(text))


def fault_of_label(key: str, value: str) -> str | None:
    """Return what is wrong with a label; ``None`` if nothing is."""
    if not key or not _LABEL_KEY.match(key) or len(key.rpartition("/")[2]) > MAX_LABEL:
        return f"expected a label name such as app or example.com/app, found {key[:80]!r}"
    if len(value) > MAX_LABEL or not _LABEL_VALUE.match(value):
        return f"expected a label value of at most 63 letters, digits, '-', '_' and '.', found {value[:80]!r}"
    return None


def fault_of_host(host: str, *, wildcard: bool = True, single_star: bool = True) -> str | None:
    """Return what is wrong with ``host`` as the name of hosts, ``None`` if nothing is.

    ``wildcard`` allows a star at the start of the first label; ``single_star`` the star alone.
    """
    if not host:
        return "expected a host name"
    if len(host) > MAX_NAME + 2:
        return "expected a host name of at most 255 characters"
    if host == "*":
        return None if single_star and wildcard else "expected a host name, not '*' alone"
    if is_ip(host):
        return None
    first, *rest = host.removesuffix(".").split(".")
    if first.startswith("*"):
        if not wildcard:
            return f"expected a host name without a wildcard, found {host[:80]!r}"
        first = first.removeprefix("*").removeprefix("-") or "x"
    for label in (first, *rest):
        if len(label) > MAX_LABEL or not _host_label(label):
            return f"expected a host name, perhaps after '*.', found {host[:80]!r}"
    return None


def _host_label(label: str) -> bool:
    return bool(_LABEL.match(label)) or label == "_" or (label.endswith("_") and bool(_LABEL.match(label.rstrip("_"))))


def is_port(number: int) -> bool:
    """Return whether ``number`` is a port."""
    return 0 < number <= MAX_PORT
