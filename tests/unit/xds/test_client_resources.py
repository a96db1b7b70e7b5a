"""What clients have: a mapping that never changes, and one object for all that have the same."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS
from controlplane.xds.client_resources import NOTHING, ClientResources
from controlplane.xds.resource import Resource, unknown
from controlplane.xds.view import View
from tests.support.fakes.resources import cluster
from tests.support.fakes.xds_client import DeltaClient, table

NAMES = tuple("abcdef")
Steps = list[tuple[str, dict[str, int]]]
steps = st.lists(
    st.tuples(st.sampled_from(("give", "ask", "drop")), st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3))), max_size=12
)


def walked(steps: Steps) -> tuple[ClientResources, dict[str, Resource | None]]:
    """Return what ``steps`` lead to, and what a dict would say."""
    resources, model = NOTHING, dict[str, Resource | None]()
    for what, revisions in steps:
        match what:
            case "give":
                given_resources = [cluster(name, revision) for name, revision in revisions.items()]
                resources = resources.having(given_resources)
                model |= {each.name: each for each in given_resources}
            case "ask":
                resources = resources.having_nothing_of(revisions)
                model |= dict.fromkeys(revisions)
            case _:
                resources = resources.without(revisions)
                model = {name: value for name, value in model.items() if name not in revisions}
    return resources, model


@given(steps)
def test_it_says_what_a_dict_would(steps: Steps) -> None:
    resources, model = walked(steps)

    assert dict(resources.items()) == model
    assert (len(resources), set(resources)) == (len(model), set(model))
    assert all(resources.get(name) == model.get(name) and (name in resources) == (name in model) for name in NAMES)


@given(steps, steps)
def test_who_has_the_same_has_the_same_object_by_whatever_way(one: Steps, other: Steps) -> None:
    (first, model), (second, other_model) = walked(one), walked(other)

    assert (first is second) == (model == other_model)
    straight = NOTHING.having_nothing_of([name for name, value in model.items() if value is None])
    assert straight.having([value for value in model.values() if value]) is first


def test_what_is_not_known_is_not_taken_for_what_is() -> None:
    known = cluster("a")
    stands_for_it = unknown(CDS, "a", known.version)

    assert NOTHING.having([known]).get("a") is known
    assert NOTHING.having([stands_for_it]).get("a") is stands_for_it


def test_equal_resources_that_are_not_the_same_object_are_not_mixed_up_later() -> None:
    kept = NOTHING.having([cluster("a", 1)])
    for revision in range(1, 200):  # each with a good chance of the address of the one before, which is freed
        gc.collect(0)
        assert dict(NOTHING.having([cluster("a", revision)]).items()) == {"a": cluster("a", revision)}
    assert kept.get("a") == cluster("a", 1)


def test_streams_in_the_same_state_share_what_is_kept_however_they_came_there() -> None:
    published = table(*(cluster(f"c{number}") for number in range(40)))

    def configured() -> DeltaClient:
        client = DeltaClient(view=View(published))
        client.settle(client.ask(CDS))
        return client

    early = configured()
    early.settle(early.change(cluster("c8", 2)))
    late, last = configured(), configured()

    assert len({id(kept(client)) for client in (early, late, last)}) == 1
    assert kept(late).get("c8") == cluster("c8", 2)


def kept(client: DeltaClient) -> ClientResources:
    [channel] = client.delta._channels.values()
    return channel.client_resources


def test_a_plan_is_not_taken_for_another_state() -> None:
    before, after = ([cluster(f"c{number}", revision) for number in range(40)] for revision in (1, 2))
    published = table(*before)
    refused = DeltaClient(view=View(published))
    refused.nack(refused.ask(CDS)[0])
    heard = [DeltaClient(view=View(published)).ask(CDS)[0].says]

    published.apply({CDS: {each.name: each for each in after}}, {})
    heard.append(DeltaClient(view=View(published)).ask(CDS)[0].says)

    assert heard == [{f"c{number}": revision for number in range(40)} for revision in (1, 2)]
