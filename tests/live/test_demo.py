"""The demo itself: every claim holds, and says so in JSON too, with the oldest Envoy and the newest (``make prove``: with each)."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from tests.support.consul.binary import found
from tests.support.envoy_versions import NEWEST, VERSIONS, envoy_of
from tests.support.leftovers import ended_with
from tests.support.proofs import ends


@pytest.mark.parametrize("version", ends(VERSIONS))
async def test_every_claim_of_the_demo_holds(version: str) -> None:
    envoy = () if version == NEWEST else ("--envoy", envoy_of(version))
    consul = found() if version == NEWEST else None  # where it is built, the story has a registry
    command = (sys.executable, "-m", "controlplane.cli.main", "demo", "--json", *envoy, *(("--consul",) if consul else ()))
    environment = {**os.environ, "NAVARCH_CONSUL": str(consul)}
    with ended_with():
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
        )

        output, words = await process.communicate()

    assert process.returncode == 0, words.decode()
    told = json.loads(output)
    print(f"Envoy {version}: {told['held']} of {told['of']} claims held in {told['seconds']} s")
    assert told["held"] == told["of"] == len(told["claims"]) == (17 if consul else 16)
    assert not consul or told["claims"][-1]["figures"]["failed"] == 0
