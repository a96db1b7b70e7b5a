"""Looking names up, as a test says."""

from __future__ import annotations

import socket


class Names:
    """A resolver whose answers are listed: the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
        del host, port, family
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in found]
