"""What clients drop by themselves unless they are told to keep it (XP-65): its lease, its renewal, and its end."""

from __future__ import annotations

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import ECDS
from controlplane.xds.resource import Resource, leased
from controlplane.xds.stream import Progress
from tests.support.fakes.resources import extension
from tests.support.fakes.xds_client import DeltaClient, SotwClient

NAME, TTL_MS = "drill/0", 2500
NOTHING = extension(NAME)


def fault(revision: int = 2) -> Resource:
    return leased(extension(NAME, revision), TTL_MS, NOTHING)


def renewal(client: DeltaClient) -> DeltaDiscoveryResponse | None:
    """Return the response to a renewal, as the wire has it."""
    client.delta.renew()
    response = client.delta.take()
    return DeltaDiscoveryResponse.FromString(response.payload) if response else None


def accept(client: DeltaClient, response: DeltaDiscoveryResponse) -> None:
    client.tell(ECDS, nonce=response.nonce)


def test_xp_65_a_lease_goes_with_its_resource_and_is_renewed_without_it() -> None:
    client = DeltaClient(fault())
    [first] = client.ask(ECDS, NAME)
    (sent,) = DeltaDiscoveryResponse.FromString(first.raw).resources
    client.ack(first)

    told = renewal(client)

    assert told
    (renewed,) = told.resources
    assert sent.ttl.ToMilliseconds() == renewed.ttl.ToMilliseconds() == TTL_MS
    assert (renewed.name, renewed.version) == (NAME, sent.version)
    assert not renewed.HasField("resource")
    accept(client, told)
    assert client.delta.take() is None
    assert client.delta.progress(fault()) is Progress.ACCEPTED


def test_a_renewal_waits_for_the_answer_to_what_is_on_its_way() -> None:
    client = DeltaClient(fault())
    [first] = client.ask(ECDS, NAME)

    waits = renewal(client)
    client.tell(ECDS, nonce=first.nonce)
    comes = client.delta.take()

    assert waits is None
    assert comes


def test_what_has_changed_is_sent_and_not_renewed() -> None:
    client = DeltaClient(fault())
    client.settle(client.ask(ECDS, NAME))
    client.delta.changed(client.table.apply({ECDS: {NAME: NOTHING}}, {}))

    client.delta.renew()
    [heard] = client.heard()
    client.ack(heard)

    assert dict(heard.says) == {NAME: 1}
    assert DeltaDiscoveryResponse.FromString(heard.raw).resources[0].ttl.ToMilliseconds() == 0
    assert renewal(client) is None


def test_without_a_lease_there_is_nothing_to_renew() -> None:
    client, silent = DeltaClient(NOTHING), DeltaClient(NOTHING)
    client.settle(client.ask(ECDS, NAME))

    assert renewal(client) is None
    assert renewal(silent) is None


def test_a_client_that_comes_back_with_a_lease_has_it_renewed() -> None:
    client = DeltaClient(fault())
    client.settle(client.ask(ECDS, NAME, versions={NAME: fault().version}))

    assert renewal(client)


def test_a_client_that_cannot_be_told_for_how_long_gets_what_stands_in() -> None:
    client = SotwClient(fault())

    [heard] = client.ask(ECDS, NAME)
    client.ack(heard)
    client.sotw.renew()

    assert dict(heard.says) == {NAME: 1}
    assert client.sotw.progress(fault()) is Progress.REFUSED
    assert client.sotw.take() is None
