"""What the replicas tell each other: as much as is under way, and enough to know of everything how far it has come."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.fleet.rollout import ResourceRefusal, Rollout
from controlplane.model.keys import DESTINATION_RULE, VIRTUAL_SERVICE, Key
from controlplane.writeback.standings import MAX_BYTES, GenerationsSeen, Seen, Standings, encode_standings, standings


@dataclass(frozen=True)
class Found:
    """An object at the API server."""

    generation: int
    version: str
    uid: str = ""


def collection(key: Key) -> str:
    return key.kind


def heard(objects: dict[Key, Found], rollouts: dict[Key, Rollout]) -> Standings:
    found = standings(encode_standings(objects, rollouts, collection))
    assert found is not None
    return found


def routes(count: int) -> dict[Key, Found]:
    return {VIRTUAL_SERVICE.key("shop", f"route-number-{number}"): Found(2, str(100 + number)) for number in range(count)}


def test_what_is_in_order_is_known_with_its_number_of_proxies_without_being_named() -> None:
    objects = routes(5000)
    rollouts = {key: Rollout(2, 45, 45) for key in objects}

    content = encode_standings(objects, rollouts, collection)

    assert len(content) < 500
    found = standings(content)
    assert found is not None
    assert {found.rollout(key, Seen(2, int(each.version)), "VirtualService") for key, each in objects.items()} == {Rollout(2, 45, 45)}


def test_numbers_differ_from_one_name_on() -> None:
    a, b, c = (VIRTUAL_SERVICE.key(namespace, "r") for namespace in ("bank", "book", "shop"))
    objects = {key: Found(1, "7") for key in (c, a, b)}

    found = heard(objects, {a: Rollout(1, 3, 3), b: Rollout(1, 3, 3), c: Rollout(1, 9, 9)})

    assert [found.rollout(key, Seen(1, 7), "VirtualService") for key in (a, b, c)] == [Rollout(1, 3, 3), Rollout(1, 3, 3), Rollout(1, 9, 9)]


def test_what_is_under_way_is_told_as_it_is() -> None:
    waiting, refused, behind = (VIRTUAL_SERVICE.key("shop", name) for name in ("waiting", "refused", "behind"))
    objects = {waiting: Found(2, "5"), refused: Found(1, "6"), behind: Found(4, "7")}
    refusal = ResourceRefusal("web-1", "VirtualHost 80/a", "no")
    rollouts = {waiting: Rollout(2, 45, 44), refused: Rollout(1, 2, 2, (refusal,)), behind: Rollout(3, 1, 1)}

    found = heard(objects, rollouts)

    assert {key: found.rollout(key, Seen(each.generation, 5), "VirtualService") for key, each in objects.items()} == rollouts


def test_what_a_replica_has_not_seen_it_has_not_served() -> None:
    key, other = VIRTUAL_SERVICE.key("shop", "r"), DESTINATION_RULE.key("shop", "r")
    found = heard({key: Found(1, "7")}, {key: Rollout(1, 1, 1)})

    assert found.rollout(key, Seen(2, 8), "VirtualService") is None
    assert found.rollout(other, Seen(1, 6), "DestinationRule") is None


def test_where_too_much_is_under_way_what_is_not_named_is_not_known() -> None:
    objects = routes(10_000)
    rollouts = {key: Rollout(2, 45, 44) for key in objects}

    content = encode_standings(objects, rollouts, collection)

    assert len(content) < MAX_BYTES + 1000
    found = standings(content)
    assert found is not None
    assert not found.complete
    unnamed = [key for key in objects if str(key) not in found.under_way]
    assert unnamed
    assert found.rollout(unnamed[0], Seen(2, 1), "VirtualService") is None


def test_where_numbers_are_too_many_to_tell_all_is_known_but_these() -> None:
    objects = routes(2000)
    rollouts = {key: Rollout(2, number % 7, number % 7) for number, key in enumerate(objects)}

    found = heard(objects, rollouts)

    assert found.rollout(next(iter(objects)), Seen(2, 100), "VirtualService") == Rollout(2, counted=False)


def test_a_status_that_is_written_makes_no_version_that_others_have_to_have_seen() -> None:
    key, generations = VIRTUAL_SERVICE.key("shop", "r"), GenerationsSeen()
    generations.look({key: Found(1, "10")})

    assert generations.look({key: Found(1, "20")}) == {key: Seen(1, 10)}
    assert generations.look({key: Found(2, "30")}) == {key: Seen(2, 30)}
    assert generations.look({key: Found(2, "40", "made-anew")}) == {key: Seen(2, 40, "made-anew")}


def test_what_an_older_replica_tells_is_not_understood_and_breaks_nothing() -> None:
    assert standings('{"VirtualService/shop/r": [1, 2, 3, []]}') is None
    assert standings("") is None
    assert standings("[]") is None
