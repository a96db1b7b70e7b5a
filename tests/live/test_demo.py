"""The demo itself: every claim holds, and says so in JSON too."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.support.leftovers import ended_with


async def test_every_claim_of_the_demo_holds() -> None:
    command = (sys.executable, "-m", "controlplane.cli.main", "demo", "--json")
    with ended_with():
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)

        output, words = await process.communicate()

    assert process.returncode == 0, words.decode()
    told = json.loads(output)
    print(f"{told['held']} of {told['of']} claims held in {told['seconds']} s")
    assert told["held"] == told["of"] == len(told["claims"]) == 12
