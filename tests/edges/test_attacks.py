"""What a bystander notices while one tenant or client takes all it can get: it is served; how quickly is held where nothing else runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.attackers import ATTACKS
from tests.support.bystander import attacked, under_attack
from tests.support.waiting import MEASURING, within

SECONDS = 8.0 if MEASURING else 1.0
# That the other bounds hold, and that who keeps to them is served, is shown by other tests too, and quicker.
TRIED = ATTACKS if MEASURING else ("wide", "versions")


@pytest.mark.parametrize("attack", TRIED)
async def test_a_bystander_is_served_while_others_are_attacked(attack: str, tmp_path: Path) -> None:
    server = await attacked(tmp_path)
    try:
        noticed = await under_attack(server, attack, SECONDS)
        still_there = server.process.alive and await server.healthy()
    finally:
        await server.process.stop(kill=True)

    print(noticed.row)
    assert still_there
    assert noticed.change_s
    assert max(noticed.change_s) <= within(1.0)
    assert max(noticed.health_s) <= within(0.25)
    assert noticed.memory <= within(500e6)
