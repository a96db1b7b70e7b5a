"""What is over a budget is named."""

from __future__ import annotations

from pathlib import Path

from tools.shape import FUNCTION_LINES, MODULE_LINES, faults

WHERE = Path("room/module.py")


def test_what_keeps_the_budgets_is_not_named() -> None:
    body = "    pass\n" * (FUNCTION_LINES - 1)
    rest = "x = 1\n" * (MODULE_LINES - FUNCTION_LINES)

    found = list(faults(WHERE, f"def small(a: int, *b: str) -> None:\n{body}{rest}"))

    assert found == []


def test_a_long_module_is_named() -> None:
    text = "x = 1\n" * (MODULE_LINES + 1)

    found = list(faults(WHERE, text))

    assert found == [("room/module.py", "301 lines; a module has at most 300")]


def test_a_long_function_is_named_wherever_it_stands() -> None:
    body = "        pass\n" * FUNCTION_LINES

    found = list(faults(WHERE, f"class Room:\n    async def long(self) -> None:\n{body}"))

    assert found == [("room/module.py:long", "41 lines; a function has at most 40")]


def test_any_in_a_signature_is_named_but_not_the_message_of_that_name() -> None:
    signatures = (
        "def a(b: list[Any]) -> None: ...\ndef c() -> typing.Any: ...\ndef d(e: 'Any') -> None: ...\ndef f(g: any_pb2.Any) -> None: ...\n"
    )

    found = [where for where, _ in faults(WHERE, signatures)]

    assert found == ["room/module.py:a", "room/module.py:c", "room/module.py:d"]
