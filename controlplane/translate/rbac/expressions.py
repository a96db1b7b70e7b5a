"""The regular expressions that rules become: Envoy refuses a listener over one that is longer than it allows."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from google.protobuf.message import Message

from controlplane.translate.rbac.attributes import M
from controlplane.translate.rbac.identities import Around
from controlplane.translate.rbac.terms import RuleTerms, Term


def expressions_of(terms: RuleTerms, around: Around) -> Iterator[tuple[str, str]]:
    """Yield each value of ``terms`` that becomes an expression, and the expression."""
    for each in terms.all:
        for client in each.clients:
            yield from _of_term(client, around)
        for target in each.targets:
            yield from _of_term(target, around)


def _of_term(term: Term[M], around: Around) -> Iterator[tuple[str, str]]:
    for value in (*term.values, *term.others):
        for condition in term.fitting((value,), around):
            yield from ((value, regex) for regex in _regexes(condition))


def _regexes(message: Message) -> Iterator[str]:
    if isinstance(message, RegexMatcher):
        yield message.regex
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in (value,) if isinstance(value, Message) else value:
                yield from _regexes(inner)
