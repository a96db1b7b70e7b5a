"""An application in a network namespace, as tests use it: what it serves, whom it asks, and who has answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.untyped import Json, number, section, text
from tests.support.interception import Worker


@dataclass(frozen=True, slots=True)
class Answer:
    """Who has answered, nothing where nobody has, and what the server saw: from where, at which address, by which server name of TLS."""

    who: str = ""
    status: int = 0  # of HTTP
    source: str = ""
    at: str = ""
    name: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # as the server got them
    error: str = ""

    @classmethod
    def read(cls, said: Json) -> Answer:
        """Read what a worker says."""
        found = {name: text(said, name) for name in ("who", "source", "at", "name", "body", "error")}
        headers = {name: str(value) for name, value in section(said, "headers").items()}
        return cls(**found, status=number(said, "status"), headers=headers)


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection that stays."""

    worker: Worker
    number: int
    who: str

    def says(self, line: str) -> bool:
        """Return whether ``line`` comes back."""
        return self.worker.ask("say", self.number, line) == line

    def is_closed(self) -> bool:
        """Return whether the other side has closed it by now."""
        return bool(self.worker.ask("is_closed", self.number))

    def ended(self) -> float:
        """Wait until the other side closes it; return how many seconds after it was asked for."""
        found = self.worker.ask("ended", self.number)
        assert isinstance(found, float), "the connection is still there"
        return found

    def close(self) -> None:
        """Close it."""
        self.worker.ask("close", self.number)


class Application:
    """What a worker does as an application."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def serve(self, who: str, host: str, port: int, protocol: str, certificate: str) -> None:
        """Listen as ``who``."""
        self.worker.ask("serve", who, host, port, protocol, certificate)

    def arrived(self) -> Counter[str]:
        """Return how many connections of TCP and requests of HTTP have come to its servers, by who took them."""
        return self._counted("arrived")

    def holds(self) -> Counter[str]:
        """Return how many requests for ``/hold`` its servers have, by who has them."""
        return self._counted("holds")

    def release(self) -> None:
        """Have what is held answered."""
        self.worker.ask("release")

    def tcp(self, host: str, port: int, *, source: str = "", first: str = "hello\n") -> Answer:
        """Connect from the address ``source``, and say ``first``."""
        return self._asked("tcp", host, port, source, first)

    def tls(self, host: str, port: int, name: str = "", *, source: str = "") -> Answer:
        """Connect by TLS from the address ``source``, and ask for ``name``, or for none."""
        return self._asked("tls", host, port, name, source)

    def http(
        self,
        host: str,
        port: int,
        authority: str = "",
        path: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Answer:
        """Make a request for ``authority``, or what it connects to, by TLS where there is a ``name``."""
        return self._asked("http", host, port, authority or f"{host}:{port}", path, headers or {}, name)

    def ask(self, host: str, port: int, authority: str, path: str) -> int:
        """Make a request, and return by which number it is ``answered``."""
        found = self.worker.ask("ask", host, port, authority, path, {})
        assert isinstance(found, int)
        return found

    def answered(self, request: int) -> Answer:
        """Wait for the answer to ``request``."""
        return self._asked("answer", request)

    def keep(self, host: str, port: int) -> Kept:
        """Connect by TCP, and stay connected."""
        found = self.worker.ask("keep", host, port)
        assert isinstance(found, list)
        kept, greeting = found
        return Kept(self.worker, kept, Answer.read(greeting).who)

    def _asked(self, method: str, *arguments: object) -> Answer:
        said = self.worker.ask(method, *arguments)
        assert isinstance(said, dict)
        return Answer.read(said)

    def _counted(self, method: str) -> Counter[str]:
        found = self.worker.ask(method)
        assert isinstance(found, dict)
        return Counter(found)
