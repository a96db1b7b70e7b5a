"""What may be asked on behalf of users: an object names a URL, and the control plane stands where users do not.

Public addresses by HTTPS, and what the operator allows. A wide block does not open a narrow danger: loopback, link-local and metadata
addresses are only opened by a block within their own range, and the machine's own address only by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import assert_never

from yarl import URL

from controlplane.errors import UserError
from controlplane.model.hosts import is_covered_by
from controlplane.model.ip_addresses import Address, Network, Reach, parse_address, reach, special_range
from controlplane.objects.types.names import host_error

_PLAIN = "http://"


class Forbidden(UserError):
    """Something that is not asked; the text says why, and is safe to be shown."""


@dataclass(frozen=True, slots=True)
class AllowedDestination:
    """What the operator allows: an address ``block``, or the hosts of ``name``; ``plain``: without TLS too."""

    name: str = ""  # or *.suffix
    block: Network | None = None
    plain: bool = False

    def covers(self, host: str, address: Address) -> bool:
        """Return whether this is about ``host``, at ``address``."""
        return is_covered_by(host, self.name) if self.block is None else address in self.block


def parse_allowed(text: str) -> AllowedDestination:
    """Return what ``text`` allows; raises ValueError where it is neither a block nor a host, perhaps after ``http://``."""
    plain = text.startswith(_PLAIN)
    rest = text.removeprefix(_PLAIN).strip("/").lower()
    if (address := parse_address(rest)) is not None:
        return AllowedDestination(block=ip_network(address), plain=plain)
    if "/" in rest:
        return AllowedDestination(block=ip_network(rest), plain=plain)
    if rest == "*" or host_error(rest):
        raise ValueError(f"expected a CIDR, an IP address, a host or *.SUFFIX, perhaps after {_PLAIN}, found {text[:80]!r}")
    return AllowedDestination(name=rest, plain=plain)


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL that may be asked as far as its text shows; where it leads is seen when it is dialled.

    It is asked as it was taken apart here: where two parsers disagree, one would check what the other does not ask.
    """

    url: URL
    host: str
    plain: bool


class UrlPolicy:
    """Decides by what the operator has ``allowed``, and by which addresses are the machine's ``own``."""

    def __init__(
        self,
        allowed: Iterable[AllowedDestination],
        is_own_address: Callable[[Address], bool],
        *,
        content: str = "keys",
        option: str = "--jwks-allow",
    ) -> None:
        """Refuse all but what is public and what is ``allowed``, by the operator's ``option``; ``content`` is what is fetched."""
        self._allowed = tuple(allowed)
        self._own = is_own_address
        self._content = content
        self._option = option

    @property
    def allows_plain(self) -> bool:
        """Return whether anything may be asked without TLS."""
        return any(destination.plain for destination in self._allowed)

    def target(self, url: str) -> CheckedUrl:
        """Return ``url`` taken apart; raises Forbidden."""
        try:
            parts = URL(url)
        except ValueError:
            raise Forbidden(f"expected a URL such as https://example.com/{self._content}") from None
        host = (parts.raw_host or "").rstrip(".").lower()
        if parts.scheme not in ("http", "https") or not host:
            raise Forbidden(f"expected a URL such as https://example.com/{self._content}")
        if parts.user is not None or parts.password is not None:
            raise Forbidden("expected a URL without a user and a password")
        if parts.scheme == "http" and not self.allows_plain:
            raise Forbidden(
                f"expected https: {self._content} that come in the clear can be anybody's; the operator can allow it by {self._option} http://…"
            )
        return CheckedUrl(parts, host, plain=parts.scheme == "http")

    def check(self, target: CheckedUrl, text: str) -> None:
        """Pass the address ``text`` as one that ``target`` may be asked at; raises Forbidden."""
        address = parse_address(text)
        if address is None:
            raise Forbidden(f"{target.host} has no address that is known to be harmless")
        covering = [
            destination
            for destination in self._allowed
            if destination.covers(target.host, address) and (destination.plain or not target.plain)
        ]
        kind = reach(address)
        if kind in (Reach.PUBLIC, Reach.PRIVATE) and self._own(address):
            if not any(destination.block == ip_network(address) for destination in covering):
                raise Forbidden(f"{target.host} is at an address of the control plane itself")
            return
        match kind:
            case Reach.PUBLIC:
                good = bool(covering) or not target.plain
            case Reach.PRIVATE:
                good = bool(covering)
            case Reach.LOOPBACK | Reach.LINK_LOCAL | Reach.METADATA:
                good = any(_within(destination.block, special_range(address)) for destination in covering)
            case Reach.NOWHERE:
                good = False
            case _:
                assert_never(kind)
        if not good:
            without = ", in the clear" if target.plain else ""
            raise Forbidden(f"{target.host} is at a {kind} address{without}; the operator can allow such by {self._option}")


def _within(block: Network | None, wider: Network | None) -> bool:
    if block is None or wider is None:
        return False
    return block.version == wider.version and block.prefixlen >= wider.prefixlen and block.network_address in wider
