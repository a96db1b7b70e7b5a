"""What the metrics and the admin API say of identities, and what they never say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest_asyncio

from controlplane.envoy.type_urls import SDS
from tests.support.control_plane import next_delta, status_of
from tests.support.secure_control_plane import Secure, asking, node, secure, stream


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Secure]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with secure(folder) as found:
        yield found


async def metrics(plane: Secure) -> dict[str, float]:
    """Return the metrics, by name with labels."""
    text = (await plane.running.get("/metrics"))[1]
    return {name: float(value) for name, value in re.findall(r"^(navarch_\S+) (\S+)$", text, re.MULTILINE)}


async def comes(plane: Secure, token: str | None, who: dict[str, object] | None = None) -> grpc.StatusCode:
    """Return how somebody with ``token`` fares that says it is ``who``; who says nothing is refused for the token alone."""
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=token) as call:
        if who is not None:
            await call.write(asking(SDS, who, "default"))
        if who == node():
            await next_delta(call)
            return grpc.StatusCode.OK
        return (await status_of(call))[0]


async def test_expiries_are_told_of_root_issuer_and_first_leaf(plane: Secure) -> None:
    before = await metrics(plane)
    await comes(plane, plane.token(), node())

    after = await metrics(plane)

    [root] = [value for name, value in after.items() if name.startswith("navarch_root_expiry_seconds{") and 'signs="true"' in name]
    assert 3649 * 86400 < root < 3651 * 86400
    assert after["navarch_issuer_expiry_seconds"] == root or abs(after["navarch_issuer_expiry_seconds"] - root) < 1
    assert "navarch_certificate_expiry_seconds" not in before
    assert 86_000 < after["navarch_certificate_expiry_seconds"] <= 86_400
    assert (after["navarch_certificates"], after["navarch_certificates_issued_total"]) == (1, 1)
    assert after['navarch_authority_phase{phase="steady"}'] == 1
    assert after['navarch_authority_waiting{for="bundle"}'] == 0


async def test_who_is_not_let_in_is_counted_by_few_reasons(plane: Secure) -> None:
    codes = [await comes(plane, None), await comes(plane, "a.b.c"), await comes(plane, plane.token(), node("other"))]

    found = await metrics(plane)
    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]
    counts = {name: value for name, value in found.items() if name.startswith("navarch_callers_refused_total")}
    assert {name: value for name, value in counts.items() if value} == {
        'navarch_callers_refused_total{reason="no_token"}': 1,
        'navarch_callers_refused_total{reason="token"}': 1,
        'navarch_callers_refused_total{reason="node"}': 1,
    }
    assert len(counts) == 8


async def test_s46_what_is_told_has_no_key_and_no_token(plane: Secure) -> None:
    token = plane.token()
    await comes(plane, token, node())
    await comes(plane, token, node("other"))

    shown = [(await plane.running.get(path))[1] for path in ("/metrics", "/v1/identity", "/v1/proxies", "/v1/problems")]

    assert [("PRIVATE" in each, token in each) for each in shown] == [(False, False)] * 4
