"""Bodies of pages: made once for a version, shared by those who ask at once, never older than the question, and kept within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from controlplane.admin.pages import bodies
from controlplane.admin.pages.bodies import Bodies, Body
from controlplane.slices import LoopShare


class Page:
    """A page that shows what is in ``text``, and how often it was made."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.version = 0
        self.made = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    def change(self, text: str) -> None:
        self.text = text
        self.version += 1

    def pieces(self) -> Iterator[bytes]:
        self.made += 1
        self.begun.set()
        text = self.text.encode()
        while not self.may_end.is_set():
            yield b""
        yield text


@pytest.fixture
def made() -> Bodies:
    return Bodies(LoopShare())


def content(body: Body) -> str:
    return b"".join(body.chunks).decode()


async def test_a_body_is_made_once_for_a_version(made: Bodies) -> None:
    page = Page("a")

    first = [content(await made.get("/", page.pieces, lambda: page.version)) for _ in range(3)]
    page.change("b")
    second = [content(await made.get("/", page.pieces, lambda: page.version)) for _ in range(3)]

    assert (first, second, page.made) == (["a"] * 3, ["b"] * 3, 2)


async def test_an_etag_says_what_is_in_a_body_and_nothing_else(made: Bodies) -> None:
    pages = [Page("a"), Page("a"), Page("b")]

    one, same, other = [(await made.get(number, page.pieces)).etag for number, page in enumerate(pages)]

    assert one == same != other
    assert one.startswith('"')
    assert one.endswith('"')


@pytest.mark.parametrize("versioned", [True, False])
async def test_those_who_ask_while_a_body_is_made_share_the_next_and_see_what_has_changed_meanwhile(made: Bodies, versioned: bool) -> None:  # noqa: FBT001
    page = Page("a")
    version = (lambda: page.version) if versioned else None
    page.may_end.clear()
    early = asyncio.create_task(made.get("/", page.pieces, version))
    await page.begun.wait()
    page.change("b")
    late = [asyncio.create_task(made.get("/", page.pieces, version)) for _ in range(10)]
    await asyncio.sleep(0)
    page.may_end.set()

    found = [content(await each) for each in (early, *late)]

    assert found == ["a", *["b"] * 10]
    assert page.made == 2


async def test_what_nobody_knows_the_version_of_is_made_each_time(made: Bodies) -> None:
    page = Page("a")

    for _ in range(3):
        await made.get("/", page.pieces)

    assert page.made == 3


async def test_a_body_that_cannot_be_made_is_made_anew_for_the_next(made: Bodies) -> None:
    page = Page("a")

    def fails() -> Iterator[bytes]:
        yield b"["
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await made.get("/", fails, lambda: page.version)

    assert content(await made.get("/", page.pieces, lambda: page.version)) == "a"


async def test_long_bodies_are_in_chunks(made: Bodies) -> None:
    text = "0123456789" * 20_000

    body = await made.get("/", lambda: (text[at : at + 999].encode() for at in range(0, len(text), 999)))

    assert content(body) == text
    assert body.size == 200_000
    assert {len(chunk) for chunk in body.chunks[:-1]} == {bodies.CHUNK_BYTES}


async def test_who_was_asked_for_longest_ago_makes_room(made: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_MOST_BYTES", 250)
    pages = {name: Page(name * 100) for name in "abc"}
    for page in pages.values():
        await made.get(page.text, page.pieces, lambda: 0)

    for page in pages.values():
        await made.get(page.text, page.pieces, lambda: 0)

    assert made._bytes <= 250
    assert {name: page.made for name, page in pages.items()} == {"a": 2, "b": 2, "c": 2}


async def test_pages_that_are_not_there_take_no_room_for_ever(made: Bodies) -> None:
    def missing() -> Iterator[bytes]:
        raise LookupError

    for number in range(2 * bodies._MOST_BODIES):
        with pytest.raises(LookupError):
            await made.get(number, missing)

    assert len(made._slots) <= bodies._MOST_BODIES
