"""Explain as a form: where a request or a connection of a proxy goes, decision by decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.admin.state import AdminState
from controlplane.admin.traffic.explanations import in_pieces, sight_of
from controlplane.admin.web.choices import proxy_choices, session_called
from controlplane.admin.web.rendering import html_pieces
from controlplane.explain.questions.answers import QuestionTexts, explanation_of
from controlplane.explain.questions.question import BadQuestion

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "tcp")


def explain_page(state: AdminState, proxy: str, texts: QuestionTexts) -> Iterator[bytes]:
    """Yield the page: the form, and below it, where something is asked, what becomes of what ``texts`` ask at ``proxy``."""
    choices = proxy_choices(state, proxy)
    yield b""
    session = session_called(state, proxy) if proxy else None
    answer: Mapping[str, object] | None = None
    mistake = ""
    if proxy and session is None:
        mistake = f"no proxy {proxy[:200]} is connected"
    elif session is not None and texts.target:
        try:
            explanation = yield from in_pieces(explanation_of(sight_of(state), session, texts))
            answer = explanation.row()
        except BadQuestion as error:
            mistake = str(error)
    context = {"proxy": proxy, "asked": texts, "choices": choices, "methods": METHODS, "answer": answer, "mistake": mistake}
    yield from html_pieces("explain.html", "explain", context)
