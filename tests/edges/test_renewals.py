"""Certificates of a hundred proxies that are renewed all the time, over real streams.

By itself a quarter of a minute with certificates of 5 s; with ``NAVARCH_REAL_TIME`` set, three minutes with certificates of 20 s.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
from collections import Counter
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.envoy.type_urls import SDS
from controlplane.serve.identity import now
from tests.support.control_plane import next_delta
from tests.support.secure_control_plane import Secure, asking, node, secure, stream

REAL = "NAVARCH_REAL_TIME" in os.environ
LEAF_S, RUN_S = (20.0, 180.0) if REAL else (5.0, 15.0)
STREAMS = 100


class Holder:
    """One proxy: asks once, and accepts whatever follows."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.expires_at: dt.datetime | None = None
        self.renewals: list[float] = []  # when, of the monotonic clock
        self.least_left_s = LEAF_S
        self.serials: set[int] = set()

    async def run(self, plane: Secure, everybody: asyncio.Barrier) -> None:
        assert plane.running.at.xds_tls
        account = f"account-{self.number % 10}"
        token = plane.token(account=account)
        who = node(account=account)
        who["id"] = str(who["id"]).replace("~client.", f"~client-{self.number}.")
        async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=token) as call:
            await call.write(asking(SDS, who, "default"))
            first = await next_delta(call)
            self._take(Secret.FromString(first.resources[0].resource.value))
            await everybody.wait()
            nonce, ends = first.nonce, time.monotonic() + RUN_S
            while time.monotonic() < ends:
                await call.write(asking(SDS, nonce=nonce))
                answer = await next_delta(call, LEAF_S)
                [found] = answer.resources
                self.renewals.append(time.monotonic())
                self._take(Secret.FromString(found.resource.value))
                nonce = answer.nonce

    def _take(self, secret: Secret) -> None:
        """Hold what came, if it is a certificate of today for its key; what was held before has to be good still."""
        pair, at = secret.tls_certificate, now()
        leaf = x509.load_pem_x509_certificate(pair.certificate_chain.inline_bytes)
        key = load_pem_private_key(pair.private_key.inline_bytes, None)
        assert leaf.public_key() == key.public_key()
        assert leaf.not_valid_before_utc <= at < leaf.not_valid_after_utc
        if self.expires_at is not None:
            self.least_left_s = min(self.least_left_s, (self.expires_at - at).total_seconds())
        self.expires_at = leaf.not_valid_after_utc
        self.serials.add(leaf.serial_number)


async def test_s32_short_leaves_of_a_hundred_streams_never_expire_and_are_renewed_apart(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    holders, everybody = [Holder(number) for number in range(STREAMS)], asyncio.Barrier(STREAMS)

    async with secure(folder, leaf_s=LEAF_S) as plane, asyncio.TaskGroup() as tasks:
        for each in holders:
            tasks.create_task(each.run(plane, everybody))

    times = sorted(at for each in holders for at in each.renewals)
    seconds = Counter(int(at - times[0]) for at in times)
    least = min(each.least_left_s for each in holders)
    busiest = max(seconds.values())
    print(
        f"{STREAMS} streams, leaves of {LEAF_S:.0f} s for {RUN_S:.0f} s: {len(times)} renewals, at least {least:.1f} s before the end, "
        f"at most {busiest} in a second ({busiest / len(times):.1%})"
    )
    assert least > 0
    assert len(times) > STREAMS * (RUN_S / LEAF_S)
    assert busiest <= (0.1 if REAL else 0.2) * len(times)
    assert all(len(each.serials) == len(each.renewals) + 1 for each in holders)
