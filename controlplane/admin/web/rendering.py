"""HTML in pieces: templates that escape every text, and the headers that keep a page from doing more than it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

HTML = "text/html; charset=utf-8"
# Scripts and styles are files of our own, and nothing is asked of another site: a name that is no text but HTML does nothing.
HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Page(NamedTuple):
    """A page that all pages lead to: by a link, and by the keys ``g`` and ``key``."""

    name: str
    path: str
    title: str
    key: str


PAGES = (
    Page("mesh", "/", "Mesh", "m"),
    Page("proxies", "/proxies", "Proxies", "p"),
    Page("resources", "/resources", "Resources", "r"),
    Page("objects", "/objects", "Objects", "o"),
    Page("problems", "/problems", "Problems", "e"),
    Page("history", "/history", "History", "h"),
    Page("explain", "/explain", "Explain", "x"),
    Page("plan", "/plan", "Plan", "l"),
)


def html_pieces(template: str, here: str, context: Mapping[str, object]) -> Iterator[bytes]:
    """Yield the page that ``template`` makes of ``context``, as a part of ``here``; between two rows others get a turn."""
    for piece in _environment().get_template(template).generate(context, pages=PAGES, here=here):
        yield piece.encode()


def iso_time(at: float) -> str:
    """Return ``at``, seconds since the epoch, by ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("controlplane.admin.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["iso"] = iso_time
    return environment
