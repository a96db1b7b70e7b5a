"""The demo itself: every claim holds, and says so in JSON too, with the oldest Envoy and the newest (``make prove``: with each).

With the newest it is left running, until the commands that it says one should try have been tried, and its page has been looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys

import httpx
import pytest

from tests.support.cli import NAVARCH
from tests.support.consul.binary import found
from tests.support.envoy_versions import NEWEST, VERSIONS, envoy_of
from tests.support.leftovers import ended_with
from tests.support.proofs import ends
from tests.support.waiting import DEADLINE_S, until

_RUNS = "Ctrl-C ends it"
_MUTUAL = '<span class="state mtls">mTLS</span>'


@pytest.mark.parametrize("version", ends(VERSIONS))
async def test_every_claim_of_the_demo_holds(version: str) -> None:
    newest = version == NEWEST
    consul = found() if newest else None  # where it is built, the story has a registry
    options = ("--keep", *(("--consul",) if consul else ())) if newest else ("--envoy", envoy_of(version))
    environment = {**os.environ, "NAVARCH_CONSUL": str(consul), "COLUMNS": "200"}
    with ended_with():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controlplane.cli.main", "demo", "--json", *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        words = await _until_it_runs(process) if newest else ""
        tried = [await _tried(command) for command in re.findall(r"^  (navarch .*?)  ", words, re.MULTILINE)]
        page = await _page(words) if newest else ""
        if newest:
            process.send_signal(signal.SIGINT)
        output, rest = await process.communicate()

    assert process.returncode == 0, words + rest.decode()
    told = json.loads(output)
    print(f"Envoy {version}: {told['held']} of {told['of']} claims held in {told['seconds']} s")
    assert told["held"] == told["of"] == len(told["claims"]) == (17 if consul else 16)
    assert not consul or told["claims"][-1]["figures"]["failed"] == 0
    if newest:
        proxies, routes, problems = tried
        assert "productpage-v1" in proxies
        assert "reviews.default.svc.cluster.local" in routes
        assert ".yaml" in problems
        assert "productpage.default" in page


async def _until_it_runs(process: asyncio.subprocess.Process) -> str:
    """Return what ``process`` says until it has nothing to do but to be interrupted."""
    assert process.stderr
    said = ""
    async with asyncio.timeout(2 * DEADLINE_S):
        while _RUNS not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
        while "'s Envoy" not in said:
            said += (await process.stderr.readline()).decode()
    return said


async def _tried(command: str) -> str:
    """Return what ``command`` prints."""
    program, *arguments = shlex.split(command)
    assert program == "navarch"
    process = await asyncio.create_subprocess_exec(*NAVARCH, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, words = await process.communicate()
    assert process.returncode in {0, 1}, f"{command}: {words.decode()}"
    return output.decode()


async def _page(words: str) -> str:
    """Return the page whose address is among ``words``, as soon as proxies have reported."""
    address = re.search(r"page, to look at\W+(http://[0-9.:]+/)", words)
    assert address, words
    async with httpx.AsyncClient() as client:

        async def reported() -> str:
            page = (await client.get(address[1])).text
            return page if _MUTUAL in page else ""

        await until(reported, "proxies have reported by mutual TLS")
        return await reported()
