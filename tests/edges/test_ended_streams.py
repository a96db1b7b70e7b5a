"""What a stream had is given back when it has ended, and not when garbage is collected: that may be hours later."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from functools import partial

from controlplane.envoy.type_urls import CDS
from controlplane.xds.view import View
from tests.support.control_plane import NODE, delta, delta_request
from tests.support.discovery_server import Machine, serving_by
from tests.support.waiting import until


async def test_nothing_of_a_stream_is_left_to_the_collector() -> None:
    made: list[weakref.ref[Machine]] = []

    def machine(view: View) -> Machine:
        del view
        one = Machine(lambda: None)
        made.append(weakref.ref(one))
        return one

    gc.collect()
    gc.disable()
    try:
        async with serving_by(machine) as running:
            for number in range(1, 4):
                async with delta(running.address) as call:
                    await call.write(delta_request(CDS, node=NODE))
                    await until(partial(_has, made, number), "the stream is served")
                    call.cancel()
            await until(lambda: not running.books.open, "all streams have ended")
            await until(lambda: not any(each() for each in made), "nothing of them is left")
    finally:
        gc.enable()


def _has(made: Sequence[object], count: int) -> bool:
    return len(made) == count
