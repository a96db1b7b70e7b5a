"""What comes of a query that raised, and of a caller that asks for what cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field

CYCLE = "Cycle"


@dataclass(frozen=True, slots=True)
class Failed:
    """The value of a query that raised: the query and arguments where it began, and what was raised there.

    A query that reads a failed one, and does not ``attempt`` it, has the very same value: one mistake is one ``Failed``,
    however many queries it reaches. Equality is by content, so that a mistake which stays the same changes nothing.
    """

    query: str
    args: tuple[object, ...]
    exception: str
    message: str
    where: str = field(default="", compare=False)  # the line that raised, for whoever mends it

    @classmethod
    def of(cls, query: str, args: tuple[object, ...], error: Exception) -> Failed:
        """Return the value of ``query`` with ``args``, which raised ``error``."""
        where, trace = "", error.__traceback__
        while trace is not None:
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            trace = trace.tb_next
        return cls(query, args, type(error).__name__, str(error), where)

    def __str__(self) -> str:
        """Return one line that names the query and what it raised."""
        return f"{label(self.query, self.args)}: {self.exception}: {self.message}"


class ReadFailed(Exception):
    """A query was read that has no value but ``failed``."""

    def __init__(self, failed: Failed) -> None:
        """Carry ``failed`` to whoever reads."""
        super().__init__(failed)
        self.failed = failed


class Misuse(RuntimeError):
    """The database was asked for what it does not do: a change from within a query, a transaction within another."""


def label(query: str, args: tuple[object, ...]) -> str:
    """Return the name of ``query`` called with ``args``, as a person would write it."""
    return f"{query}({', '.join(map(repr, args))})"


def cycle(members: list[tuple[str, tuple[object, ...]]]) -> Failed:
    """Return the value of all ``members``, each of which reads the next and the last the first.

    It is the same wherever on the cycle the asking began: the smallest name comes first.
    """
    labels = [label(*member) for member in members]
    first = min(range(len(labels)), key=lambda start: labels[start:] + labels[:start])
    around = [*labels[first:], *labels[: first + 1]]
    return Failed(*members[first], CYCLE, " reads ".join(around))
