"""The service by which Istio's agents, and whoever keeps a key of its own, have certificates signed."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

import grpc
import grpc.aio

from controlplane.ca.certificates import BadCertificate, workload
from controlplane.ca.requests import MAX_BYTES, BadRequest, public_key_of
from controlplane.model.identity import Identity
from controlplane.serve.doors import Context, Door
from controlplane.serve.istio_ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from controlplane.serve.letting import Ended, let_in
from controlplane.serve.secrets import Authority

log = logging.getLogger(__name__)

SERVICE = "istio.v1.auth.IstioCertificateService"
_DEFAULT = dt.timedelta(days=1)
_AT_ONCE = 4  # requests that are worked on; others wait, so that streams are served meanwhile
_WAITING = 200


class Call(Context, Protocol):
    """One call."""

    def abort(self, code: grpc.StatusCode, details: str) -> Awaitable[NoReturn]:
        """End the call."""


class Issuing:
    """Signs requests."""

    def __init__(self, authority: Authority, clock: Callable[[], dt.datetime], longest: dt.timedelta) -> None:
        """Sign by ``authority``, for ``longest`` at most."""
        self._authority = authority
        self._clock = clock
        self._longest = longest
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self.signed = 0
        self.refused = 0

    async def sign(self, who: Identity, csr: str, seconds: int) -> list[str]:
        """Return the certificate of ``who`` for the key of ``csr``, then its chain, the root last; raises BadRequest, BadCertificate."""
        lifetime = dt.timedelta(seconds=min(seconds, 2**31)) if seconds else _DEFAULT
        if not dt.timedelta() < lifetime <= self._longest:
            raise BadRequest(f"expected a validity of at most {int(self._longest.total_seconds())} seconds")
        if len(csr) > MAX_BYTES:
            raise BadRequest(f"expected a request of at most {MAX_BYTES} bytes")
        if self._waiting >= _WAITING:
            raise BadCertificate("too many requests wait")
        self._waiting += 1
        try:
            async with self._places:
                chain = await asyncio.to_thread(self._signed, who, csr.encode(), lifetime)
        finally:
            self._waiting -= 1
        self.signed += 1
        return chain

    def _signed(self, who: Identity, csr: bytes, lifetime: dt.timedelta) -> list[str]:
        key, issuer = public_key_of(csr), self._authority.state.signing
        chain = workload(issuer.signer, who, key, self._clock(), lifetime).decode()
        end = "-----END CERTIFICATE-----\n"
        return [*(part + end for part in chain.split(end) if part.strip()), issuer.root.decode()]


def handler(issuing: Issuing, door: Door) -> grpc.GenericRpcHandler:
    """Return the service, for those who come in by ``door``."""

    async def create(request: IstioCertificateRequest, call: Call) -> IstioCertificateResponse:
        caller = await let_in(door, call)
        if isinstance(caller, Ended):
            await call.abort(caller.code, caller.details)
        if caller.who is None:
            await call.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
        try:
            return IstioCertificateResponse(cert_chain=await issuing.sign(caller.who, request.csr, request.validity_duration))
        except BadRequest as error:
            issuing.refused += 1
            log.info("request not signed", extra={"identity": caller.who.uri, "reason": str(error)})
            await call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except BadCertificate as error:
            log.warning("request not signed", extra={"identity": caller.who.uri, "reason": str(error)})
            await call.abort(grpc.StatusCode.UNAVAILABLE, "no certificate can be issued now")

    method = grpc.unary_unary_rpc_method_handler(
        create,
        request_deserializer=IstioCertificateRequest.FromString,
        response_serializer=IstioCertificateResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": method})
