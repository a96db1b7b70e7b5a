"""The walk: listener, filter chain, filters, and for requests route table, virtual host and route; then cluster and endpoints."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.simulation.arrival import Arrival
from controlplane.simulation.connections.chains import chain_label, chosen_chain
from controlplane.simulation.connections.inspection import inspected
from controlplane.simulation.connections.listeners import addressed_listener, bound_listener
from controlplane.simulation.connections.network_filters import filtered
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Closed, Outcome, Simulation, Stage, Walk
from controlplane.simulation.traffic import ClientConnection, Request


def simulate(traffic: ClientConnection | Request, resources: Resources) -> Simulation:
    """Return where an Envoy with ``resources`` would send ``traffic``, and why."""
    connection, request = (traffic.connection, traffic) if isinstance(traffic, Request) else (traffic, None)
    return Simulation(tuple(_accepted(connection, request, resources)))


def _accepted(connection: ClientConnection, request: Request | None, resources: Resources) -> Iterator[Outcome]:
    """Yield what becomes of ``connection``, from the listener that it comes to."""
    local = connection.redirected_to or connection.destination
    listener, reason = bound_listener(resources.listeners, local)
    if listener is None:
        yield Walk().step(Stage.LISTENER, "", "", reason).ends(Closed())
        return
    arrival = Arrival(
        source=connection.source,
        local=local,
        destination=connection.destination,
        first_bytes=connection.first_bytes,
        principal=connection.principal,
    )
    found = inspected(Walk().step(Stage.LISTENER, listener.name, listener.name, reason), listener, arrival)
    if isinstance(found, Outcome):
        yield found
        return
    walk, arrival = found
    if listener.use_original_dst.value:
        next_listener, reason = addressed_listener(resources.listeners, arrival.local)
        if next_listener is not None:
            walk = walk.step(Stage.LISTENER, listener.name, next_listener.name, f"the client wanted to go to {arrival.local}: {reason}")
            again = inspected(walk, next_listener, arrival)
            if isinstance(again, Outcome):
                yield again
                return
            walk, arrival = again
            listener = next_listener
        else:
            walk = walk.step(Stage.LISTENER, listener.name, listener.name, f"{reason}: the connection stays")
    yield from _chained(walk, listener, arrival, request, resources)


def _chained(walk: Walk, listener: Listener, arrival: Arrival, request: Request | None, resources: Resources) -> Iterator[Outcome]:
    """Yield what becomes of ``arrival`` in the chain of ``listener`` that it gets."""
    chain, reason = chosen_chain(listener, arrival)
    if chain is None:
        yield walk.step(Stage.FILTER_CHAIN, listener.name, "", reason).ends(Closed())
        return
    label = chain_label(listener, chain)
    yield from filtered(walk.step(Stage.FILTER_CHAIN, listener.name, label, reason), label, chain, arrival, request, resources)
