"""What an HTTP filter is to the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter as FilterMessage
from google.protobuf.message import Message

from controlplane.envoy.packing import pack
from controlplane.ir.access import OPEN, ChainAccess
from controlplane.ir.extensions.chains import ChainExtension
from controlplane.ir.limits.rate_limits import RequestLimits
from controlplane.ir.rules import HttpRule


@dataclass(frozen=True, slots=True)
class Chain:
    """What the filters of a chain depend on: whose connections it takes, and the policies that hold for them."""

    inbound: bool  # to the workload; otherwise from it, or through a gateway
    access: ChainAccess = OPEN
    limits: tuple[RequestLimits, ...] = ()
    extensions: tuple[ChainExtension, ...] = ()  # those of users, within a phase in their order
    requested_faults: bool = False  # inbound: requests may ask for faults
    by_address: bool = False  # requests go to the endpoint that the connection was going to, where clients choose one themselves


def nothing(rule: HttpRule) -> Message | None:
    """Return that a filter has no configuration of its own for ``rule``."""
    del rule
    return None


@dataclass(frozen=True, slots=True)
class HttpFilter:
    """A filter ``name``: ``of_chain`` gives its messages for a chain, none where it does not stand there, in the order of requests.

    ``of_rule`` gives what one rule tells it, if anything.
    """

    name: str
    of_chain: Callable[[Chain], Iterable[Message]]
    of_rule: Callable[[HttpRule], Message | None] = nothing

    def messages(self, chain: Chain) -> Iterator[FilterMessage]:
        """Yield the filters of this name in ``chain``."""
        for config in self.of_chain(chain):
            yield FilterMessage(name=self.name, typed_config=pack(config))


def always(config: Message) -> Callable[[Chain], Iterable[Message]]:
    """Return that a filter stands in every chain, with ``config``."""
    return lambda _: (config,)


def outbound(config: Message) -> Callable[[Chain], Iterable[Message]]:
    """Return that a filter stands, with ``config``, where rules can tell it something: in all but inbound chains."""
    return lambda chain: () if chain.inbound else (config,)
