"""A client of the discovery service, no Envoy, that refuses one resource, for reasons that nobody can know before."""

from __future__ import annotations

from controlplane.envoy.type_urls import EDS, RDS, SDS, VHDS
from tests.support.control_plane import DeltaCall, delta_request, next_delta
from tests.support.secure_control_plane import asking

_ASKED_BY_NAME = (EDS, SDS)


async def refuse(call: DeltaCall, node: dict[str, object], type_url: str, bad: str, message: str) -> None:
    """Refuse as ``node`` each response with the resource ``bad`` until that stands alone, and accept all others."""
    await call.write(asking(type_url, node, *((bad,) if type_url in _ASKED_BY_NAME else ())))
    if type_url == VHDS:
        await call.write(delta_request(RDS, names=("80",)))
    while True:
        response = await next_delta(call)
        answer = delta_request(response.type_url, nonce=response.nonce)
        sent = {resource.name for resource in response.resources}
        if bad in sent:
            answer.error_detail.message = message
        await call.write(answer)
        if sent == {bad}:
            return
