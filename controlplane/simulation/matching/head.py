"""The head of a request, as routes and filters see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request: its path normalized, the names of its headers in lower case."""

    method: str
    scheme: str
    authority: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    def value(self, name: str) -> str | None:
        """Return the value of the header ``name``, several joined by commas; ``None`` where there is none."""
        name = name.lower()
        own = {":method": self.method, ":authority": self.authority, "host": self.authority, ":path": self.path, ":scheme": self.scheme}
        if name in own:
            return own[name]
        found = [value for header, value in self.headers if header == name]
        return ",".join(found) if found else None
