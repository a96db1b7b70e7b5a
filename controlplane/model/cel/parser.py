"""Whether an expression is one in CEL that Envoy takes, by the grammar and the functions that it has.

Envoy leaves out of CEL what walks through lists, and what makes texts of other values: such an expression is parsed, and then refused.
All that is said here was tried with Envoy 1.36 and 1.40. https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from controlplane.model.cel.functions import ALONE, HAS, OF_VALUES, WALKS
from controlplane.model.cel.tokens import BadExpression, Token, TokenKind, excerpt, text_value, tokens

MAX_LENGTH = 4096  # characters
_MOST_DEPTH = 28  # of expressions within each other: Envoy ends at some 32, which it counts in another way
_RELATIONS = frozenset(("<", "<=", ">", ">=", "==", "!=", "in"))
_RESERVED = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split()  # noqa: SIM905 - a list of words
)
_LITERALS = frozenset(("true", "false", "null"))


class _Part(NamedTuple):
    """A part of an expression: how deep it is, whether it is a field of something, and the text that it is, if it is one."""

    depth: int = 1
    selects: bool = False
    text: str | None = None


def check_expression(text: str, regex_problem: Callable[[str], str | None]) -> None:
    """Raise BadExpression, which says what was expected, where ``text`` is no expression in CEL that Envoy takes.

    ``regex_problem`` says why Envoy does not take a regular expression; ``None``: it does.
    """
    if len(text) > MAX_LENGTH:
        raise BadExpression(f"expected at most {MAX_LENGTH} characters, found {len(text)}")
    _Parser(text, regex_problem).whole()


class _Parser:
    """Reads an expression from left to right, by recursive descent."""

    def __init__(self, text: str, regex_problem: Callable[[str], str | None]) -> None:
        self._text = text
        self._regex_problem = regex_problem
        self._tokens = tokens(text)
        self._next = 0
        self._brackets = 0

    def whole(self) -> None:
        self._expression()
        if self._token.kind is not TokenKind.END:
            raise self._expected("an operator, or the end,")

    def _expression(self) -> _Part:
        self._brackets += 1
        if self._brackets > _MOST_DEPTH:
            raise _too_deep()
        part = self._disjunction()
        if self._takes("?"):
            chosen = self._disjunction()
            self._expect(":")
            part = _around(part, chosen, self._expression())
        self._brackets -= 1
        return part

    def _disjunction(self) -> _Part:
        return self._logic("||", self._conjunction)

    def _conjunction(self) -> _Part:
        return self._logic("&&", self._relation)

    def _logic(self, sign: str, operand: Callable[[], _Part]) -> _Part:
        """Read operands with ``sign`` between them, of which Envoy makes a balanced tree."""
        parts = [operand()]
        while self._takes(sign):
            parts.append(operand())
        return parts[0] if len(parts) == 1 else _deeper(max(part.depth for part in parts) + (len(parts) - 1).bit_length())

    def _relation(self) -> _Part:
        return self._chain(_RELATIONS, self._sum)

    def _sum(self) -> _Part:
        return self._chain(frozenset(("+", "-")), self._product)

    def _product(self) -> _Part:
        return self._chain(frozenset(("*", "/", "%")), self._unary)

    def _chain(self, signs: frozenset[str], operand: Callable[[], _Part]) -> _Part:
        part = operand()
        while self._token.text in signs and self._token.kind in (TokenKind.SIGN, TokenKind.NAME):
            self._next += 1
            part = _around(part, operand())
        return part

    def _unary(self) -> _Part:
        for sign in ("!", "-"):
            if self._takes(sign):
                while self._takes(sign):
                    pass
                return _around(self._member())
        return self._member()

    def _member(self) -> _Part:
        part = self._primary()
        while True:
            if self._takes("."):
                name = self._name("the name of a field or a function")
                part = self._method(name, part) if self._takes("(") else _around(part)._replace(selects=True)
            elif self._takes("["):
                part = _around(part, self._expression())
                self._expect("]")
            else:
                return part

    def _primary(self) -> _Part:
        token = self._token
        if token.kind in (TokenKind.NUMBER, TokenKind.TEXT) or token.text in _LITERALS:
            self._next += 1
            return _Part(text=text_value(token.text) if token.kind is TokenKind.TEXT else None)
        if self._takes("("):
            part = self._expression()
            self._expect(")")
            return _around(part)._replace(selects=part.selects, text=part.text)
        if self._takes("["):
            return _around(*self._list("]", self._expression))
        if self._takes("{"):
            return _around(*self._list("}", self._entry))
        self._takes(".")
        name = self._name("a value")
        if name in _RESERVED:
            raise BadExpression(f"expected a name, found {name!r}, which CEL has reserved")
        return self._function(name) if self._takes("(") else _Part()

    def _entry(self) -> _Part:
        key = self._expression()
        self._expect(":")
        return _around(key, self._expression())

    def _list(self, end: str, member: Callable[[], _Part]) -> list[_Part]:
        """Read members, and perhaps a comma after the last, as far as ``end``."""
        parts: list[_Part] = []
        while not self._takes(end):
            if parts:
                self._expect(",")
                if self._takes(end):
                    break
            parts.append(member())
        return parts

    def _arguments(self) -> list[_Part]:
        if self._takes(")"):
            return []
        parts = [self._expression()]
        while self._takes(","):
            parts.append(self._expression())
        self._expect(")")
        return parts

    def _function(self, name: str) -> _Part:
        arguments = self._arguments()
        if name == HAS:
            if len(arguments) != 1 or not arguments[0].selects:
                raise BadExpression("expected a field in has(), as in has(request.headers.name)")
        else:
            self._check_call(name, arguments, ALONE)
        return _around(*arguments)

    def _method(self, name: str, of: _Part) -> _Part:
        arguments = self._arguments()
        self._check_call(name, arguments, OF_VALUES)
        return _around(of, *arguments)

    def _check_call(self, name: str, arguments: list[_Part], known: Mapping[str, tuple[int, ...]]) -> None:
        """Raise BadExpression where Envoy has no function ``name``, or not with so many ``arguments``."""
        if name in WALKS:
            raise BadExpression(f"expected no {name}(): Envoy does not walk through lists and maps")
        if name not in known:
            raise BadExpression(f"expected a function that Envoy has, found {name}(); it has {', '.join(sorted(known))}")
        if len(arguments) not in known[name]:
            numbers = " or ".join(map(str, known[name]))
            raise BadExpression(f"expected {numbers} arguments of {name}(), found {len(arguments)}")
        regex = arguments[-1].text if name == "matches" else None
        if regex is not None and (problem := self._regex_problem(regex)):
            raise BadExpression(problem)

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _takes(self, sign: str) -> bool:
        if self._token.kind is TokenKind.SIGN and self._token.text == sign:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._expected(repr(sign))

    def _name(self, what: str) -> str:
        token = self._token
        if token.kind is not TokenKind.NAME or token.text in _LITERALS or token.text == "in":
            raise self._expected(what)
        self._next += 1
        return token.text

    def _expected(self, what: str) -> BadExpression:
        return BadExpression(f"expected {what} at {excerpt(self._text, self._token.at)}")


def _around(*parts: _Part) -> _Part:
    """Return a part that is made of ``parts``."""
    return _deeper(1 + max((part.depth for part in parts), default=0))


def _deeper(depth: int) -> _Part:
    if depth > _MOST_DEPTH:
        raise _too_deep()
    return _Part(depth)


def _too_deep() -> BadExpression:
    return BadExpression(f"expected at most {_MOST_DEPTH} expressions within each other")
