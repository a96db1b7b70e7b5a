"""The path of a request after Envoy has normalized it, which is what routes see.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/header_sanitizing
(``normalize_path``, ``merge_slashes``, ``path_with_escaped_slashes_action`` of HttpConnectionManager; RFC 3986, section 6.2.2)
"""

from __future__ import annotations

import re

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager

_ESCAPED = re.compile("%([0-9a-fA-F]{2})")
_ESCAPED_SLASH = re.compile("%(2[fF]|5[cC])")
_SEPARATORS = re.compile(r"[/\\]")
_UNRESERVED = re.compile("[A-Za-z0-9._~-]")  # what needs no escape, and loses it
_ESCAPES = re.compile('[\x00-\x20"#<>?^`{|}\x7f-\U0010ffff]')  # what gets one
_BAD_REQUEST, _TEMPORARY_REDIRECT = 400, 307


def normalized_path(manager: HttpConnectionManager, target: str) -> str | int:
    """Return ``target``, a path with its query, as ``manager`` hands it to routes, or the status that it answers."""
    path, asks, query = target.partition("?")
    if _ESCAPED_SLASH.search(path):
        match manager.path_with_escaped_slashes_action:
            case HttpConnectionManager.REJECT_REQUEST:
                return _BAD_REQUEST
            case HttpConnectionManager.UNESCAPE_AND_REDIRECT:
                return _TEMPORARY_REDIRECT
            case HttpConnectionManager.UNESCAPE_AND_FORWARD:
                path = _ESCAPED_SLASH.sub(lambda escape: chr(int(escape[1], 16)), path)
    if manager.normalize_path.value:
        if "%00" in path or "\x00" in path:
            return _BAD_REQUEST
        path = _canonical(path)
    if manager.merge_slashes:
        path = re.sub("/+", "/", path)
    return f"{path}{asks}{query}"


def _canonical(path: str) -> str:
    """Return ``path`` without dot segments and needless escapes; only slashes in its text, no escaped ones, are separators."""
    kept: list[str] = []
    segments = _SEPARATORS.split(path)[1:]
    for place, segment in enumerate(segments):
        text = _ESCAPED.sub(_without_needless_escape, segment)
        last = place == len(segments) - 1
        if text == "..":
            del kept[-1:]
        elif text != ".":
            kept.append(_ESCAPES.sub(lambda character: "".join(f"%{byte:02X}" for byte in character[0].encode()), text))
            continue
        if last:
            kept.append("")
    return f"/{'/'.join(kept)}"


def _without_needless_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0]
