"""Conditions of HTTP routes that no request fulfils: they are kept, as Istio keeps them, and their author is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.objects.networking.virtual_service import HTTPMatchRequest, StringMatch
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import METHODS, path_error
from controlplane.objects.types.validation_errors import for_message

NEVER_MATCHES = "NeverMatches"
_LETTER_FIRST = re.compile(r"[A-Za-z0-9_-](?![?*{|])[^|]*\Z")  # an expression that only fits what begins with a letter
_PLAIN = re.compile(r"[A-Za-z]+\Z")  # an expression that is a word
_LITERAL = ("*", "*/*")  # the path of OPTIONS, and what a header accepts


def impossible_conditions(path: str, match: HTTPMatchRequest) -> Iterator[Finding]:
    """Yield, as warnings, what ``match`` asks for that no request has."""
    if match.uri:
        yield from _warnings(f"{path}.uri", match.uri, _of_path(match.uri))
    if match.method:
        wanted = match.method.exact or (match.method.regex or "" if _PLAIN.match(match.method.regex or "") else "")
        reason = "expected a method in upper case: methods differ by case" if wanted.upper() in METHODS and wanted not in METHODS else ""
        yield from _warnings(f"{path}.method", match.method, reason or _star(match.method))
    if match.scheme:
        wanted = match.scheme.exact or match.scheme.prefix or ""
        yield from _warnings(f"{path}.scheme", match.scheme, "" if wanted == wanted.lower() else "expected http or https, in lower case")
    if match.authority:
        wanted = match.authority.exact or match.authority.prefix or ""
        strange = "/" in wanted or not wanted.isprintable() or " " in wanted
        reason = "expected a host, perhaps with a port, without scheme, path or spaces" if strange else _star(match.authority)
        yield from _warnings(f"{path}.authority", match.authority, reason)
    for headers, conditions in (("headers", match.headers), ("queryParams", match.query_params)):
        for name, condition in conditions.items():
            reason = _of_header(condition) if headers == "headers" else ""
            yield from _warnings(f"{path}.{headers}.{name}", condition, reason or _star(condition))


def _of_path(uri: StringMatch) -> str:
    """Return why no path, or hardly one, fits ``uri``."""
    text = uri.exact or uri.prefix or ""
    if (text and not text.startswith("/") and text != "*") or _LETTER_FIRST.match(uri.regex or ""):
        return "expected a path that begins with '/'"
    if error := path_error(text, whole=uri.exact is not None):
        return f"{error}, see queryParams" if "query" in error else error
    return _star(uri)


def _of_header(condition: StringMatch) -> str:
    """Return why no header has the value that ``condition`` asks for."""
    text = condition.exact or condition.prefix or ""
    if any(ord(character) < 32 and character != "\t" for character in text) or text[:1].isspace() or (condition.exact or "")[-1:].isspace():
        return "expected a value without line breaks, and without spaces around it"
    return ""


def _star(condition: StringMatch) -> str:
    """Return why ``condition`` does not mean what its star seems to mean; empty: it has none. A value that is a star is one."""
    text = condition.exact or condition.prefix or ""
    if "*" not in text or condition.exact in _LITERAL:
        return ""
    return "a star stands for itself here, expected a prefix without it, or a regex"


def _warnings(path: str, condition: StringMatch, reason: str) -> Iterator[Finding]:
    if reason:
        kind = next((kind for kind in ("exact", "prefix", "regex") if getattr(condition, kind)), "")
        message = f"{reason}, found {for_message(getattr(condition, kind, None))}: it fits nothing"
        yield rules.warning(f"{path}.{kind}", NEVER_MATCHES, message)
