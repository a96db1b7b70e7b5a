"""Asks the admin API of one control plane: JSON in, and every way in which that can fail as a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TypeAlias
from urllib.parse import quote, urlencode

from controlplane.cli.operator.failures import UNREACHABLE, CommandFailed
from controlplane.untyped import Json

MAX_BYTES = 512 << 20  # of one answer
TIMEOUT_S = 30.0  # for which a server may be silent
_MOST_TOLD = 300  # characters of an answer that is not understood
Connect: TypeAlias = Callable[[float], HTTPConnection]


class AdminClient:
    """The admin API of one control plane."""

    def __init__(self, name: str, connect: Connect, prefix: str = "") -> None:
        """Ask over connections that ``connect`` makes, with a timeout in seconds; ``name`` is what operators call it.

        ``prefix`` stands before every path, where the API is served below one.
        """
        self.name = name
        self._connect = connect
        self._prefix = prefix

    def find(self, path: str, **query: str | None) -> object | None:
        """Return the JSON at ``path``, ``None`` where there is nothing; raises CommandFailed where no answer comes."""
        with self._answer(path, query) as answer:
            if answer.status == 404:
                return None
            return self._json(path, answer)

    def get(self, path: str, **query: str | None) -> Json:
        """Return the JSON object at ``path``; raises CommandFailed, in the server's words where there is none."""
        with self._answer(path, query) as answer:
            found = self._json(path, answer)
        if not isinstance(found, dict):
            raise self._not_understood(path, "an object")
        return found

    def post(self, path: str, body: str, **query: str | None) -> Json:
        """Return the JSON object that ``path`` answers to the text ``body``; raises CommandFailed, in the server's words."""
        with self._answer(path, query, body=body.encode()) as answer:
            found = self._json(path, answer)
        if not isinstance(found, dict):
            raise self._not_understood(path, "an object")
        return found

    def rows(self, path: str, **query: str | None) -> list[Json]:
        """Return the rows of the list at ``path``; raises CommandFailed."""
        with self._answer(path, query) as answer:
            found = self._json(path, answer)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise self._not_understood(path, "a list of objects")
        return found

    def lines(self, path: str, *, silent_s: float, **query: str | None) -> Iterator[str]:
        """Yield the lines that are streamed at ``path``, until the server ends, or is silent for ``silent_s``; raises CommandFailed."""
        with self._answer(path, query, silent_s) as answer:
            if answer.status != 200:
                self._json(path, answer)
            while True:
                try:
                    line = answer.readline(1 << 20)
                except TimeoutError:
                    return
                except (OSError, HTTPException) as error:
                    raise CommandFailed(f"{self.name} has broken off its answer: {error}", UNREACHABLE) from None
                if not line:
                    return
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def clock_skew_s(self, clock: Callable[[], float]) -> float:
        """Return by how many seconds the server's clock is ahead of ``clock``; 0.0 where it does not say; raises CommandFailed."""
        with self._answer("/healthz", {}) as answer:
            date = answer.headers.get("date") or ""
        try:
            return parsedate_to_datetime(date).timestamp() - clock()
        except ValueError:
            return 0.0

    def _answer(self, path: str, query: dict[str, str | None], timeout_s: float = TIMEOUT_S, body: bytes | None = None) -> HTTPResponse:
        named = {name: value for name, value in query.items() if value is not None}
        target = f"{self._prefix}{path}{'?' + urlencode(named) if named else ''}"
        try:
            connection = self._connect(timeout_s)
            # Each answer ends its connection, and with it what is open.
            headers = {"accept": "application/json, text/event-stream", "connection": "close"}
            connection.request("GET" if body is None else "POST", target, body, headers)
            return connection.getresponse()
        except TimeoutError:
            raise CommandFailed(f"{self.name} has not answered within {timeout_s:.0f} s", UNREACHABLE) from None
        except ConnectionRefusedError:
            raise CommandFailed(
                f"nothing listens at {self.name}: is `navarch serve` running there? --admin names another address, "
                "--kubeconfig or --context one in a cluster",
                UNREACHABLE,
            ) from None
        except OSError as error:
            raise CommandFailed(f"{self.name} cannot be reached: {error.strerror or error}", UNREACHABLE) from None
        except HTTPException as error:
            raise CommandFailed(f"{self.name} does not speak HTTP: {error or type(error).__name__}", UNREACHABLE) from None

    def _json(self, path: str, answer: HTTPResponse) -> object:
        try:
            body = answer.read(MAX_BYTES + 1)
        except (OSError, HTTPException) as error:
            raise CommandFailed(f"{self.name} has broken off its answer: {error}", UNREACHABLE) from None
        if len(body) > MAX_BYTES:
            raise CommandFailed(f"{self.name} answers {path} with more than {MAX_BYTES} bytes", UNREACHABLE)
        try:
            found: object = json.loads(body)
        except ValueError:
            found = body[:_MOST_TOLD].decode("utf-8", "replace").strip()
            if answer.status == 200:
                raise self._not_understood(path, "JSON") from None
        if answer.status != 200:
            raise self._refused(path, answer.status, found)
        return found

    def _refused(self, path: str, status: int, found: object) -> CommandFailed:
        detail = found.get("detail") if isinstance(found, dict) else found
        words = detail if isinstance(detail, str) else json.dumps(detail)
        match status:
            case 404 if words == "Not Found":
                return CommandFailed(f"{self.name} does not know {path}: is it the admin API of a Navarch, and of this version?")
            case 404 | 422:
                return CommandFailed(words[:_MOST_TOLD])
            case 401 | 403:
                return CommandFailed(f"{self.name} does not let us in: {words[:_MOST_TOLD]}", UNREACHABLE)
            case 421:
                return CommandFailed(f"{self.name} is not served by this name: {words[:_MOST_TOLD]}", UNREACHABLE)
            case _:
                return CommandFailed(f"{self.name} answers {path} with status {status}: {words[:_MOST_TOLD]}", UNREACHABLE)

    def _not_understood(self, path: str, expected: str) -> CommandFailed:
        return CommandFailed(f"{self.name}{path}: expected {expected}: is it the admin API of a Navarch?", UNREACHABLE)


def part(text: str) -> str:
    """Return ``text`` as one part of a path."""
    return quote(text, safe="")
