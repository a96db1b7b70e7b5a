"""The words of an expression in CEL.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from controlplane.errors import UserError


class TokenKind(Enum):
    """What a word is."""

    NAME = auto()
    NUMBER = auto()
    TEXT = auto()  # a string, or bytes
    SIGN = auto()  # an operator, or a bracket
    END = auto()


class Token(NamedTuple):
    """A word, and where it begins."""

    kind: TokenKind
    text: str
    at: int


class BadExpression(UserError, ValueError):
    """An expression that no Envoy parses; the message says what was expected."""


_ESCAPE = r"\\(?:[abfnrtv\"'\\?`]|[xX][0-9a-fA-F]{2}|[0-3][0-7]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
_ESCAPES = re.compile(_ESCAPE)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_QUOTED = (
    rf'"""(?:[^\\]|{_ESCAPE})*?"""',
    rf"'''(?:[^\\]|{_ESCAPE})*?'''",
    rf'"(?:[^\\"\n\r]|{_ESCAPE})*"',
    rf"'(?:[^\\'\n\r]|{_ESCAPE})*'",
)
_RAW = (r'"""(?s:.)*?"""', r"'''(?s:.)*?'''", r'"[^"\n\r]*"', r"'[^'\n\r]*'")
_WORDS = (
    ("space", r"[\t \r\n\f]+|//[^\n]*"),
    ("TEXT", rf"[bB]?[rR](?:{'|'.join(_RAW)})|[bB]?(?:{'|'.join(_QUOTED)})"),
    ("NUMBER", r"[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?|(?:0x[0-9a-fA-F]+|[0-9]+)[uU]?"),
    ("NAME", r"[A-Za-z_][A-Za-z0-9_]*"),
    ("SIGN", r"==|!=|<=|>=|&&|\|\||[<>!?:.,+\-*/%()\[\]{}]"),
)
_WORD = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _WORDS))
_MOST_SIGNED, _MOST = 2**63, 2**64


def tokens(text: str) -> list[Token]:
    """Return the words of ``text``, with one that says where it ends; raises BadExpression."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise BadExpression(f"expected a word of CEL at {excerpt(text, at)}")
        if match.lastgroup and match.lastgroup != "space":
            found.append(Token(TokenKind[match.lastgroup], match[0], at))
        at = match.end()
    for before, word in zip([None, *found], found, strict=False):
        if word.kind is TokenKind.NUMBER:
            minus = before is not None and before.text == "-"
            _check_number(word, minus=minus)
    return [*found, Token(TokenKind.END, "", len(text))]


def text_value(word: str) -> str | None:
    """Return the text that ``word``, a string, stands for; ``None``: it is bytes."""
    prefix = word[: len(word) - len(word.lstrip("bBrR"))].lower()
    quotes = 3 if word[len(prefix) : len(prefix) + 3] in ('"""', "'''") else 1
    inner = word[len(prefix) + quotes : -quotes]
    for escape in () if "r" in prefix else _ESCAPES.finditer(inner):
        if escape[0][1] in "uU" and ("b" in prefix or _surrogate(escape[0][2:])):
            raise BadExpression(f"expected a character, found {escape[0]}")
    if "b" in prefix:
        return None
    return inner if "r" in prefix else _ESCAPES.sub(_unescaped, inner)


def _surrogate(digits: str) -> bool:
    number = int(digits, 16)
    return 0xD800 <= number <= 0xDFFF or number > 0x10FFFF


def _unescaped(escape: re.Match[str]) -> str:
    letter, digits = escape[0][1], escape[0][2:]
    if letter in "xXuU":
        return chr(int(digits, 16))
    return chr(int(escape[0][1:], 8)) if letter.isdigit() else _LETTERS.get(letter, letter)


def excerpt(text: str, at: int) -> str:
    """Return what stands in ``text`` from ``at`` on, in short."""
    return repr(text[at : at + 20]) if at < len(text) else "its end"


def _check_number(word: Token, *, minus: bool) -> None:
    text = word.text.lower()
    if "." in text or ("e" in text and not text.startswith("0x")):
        return
    unsigned = text.endswith("u")
    value = int(text.rstrip("u"), 16 if text.startswith("0x") else 10)
    if value >= (_MOST if unsigned else _MOST_SIGNED + minus):
        raise BadExpression(f"expected a number of 64 bits, found {word.text[:40]}")
