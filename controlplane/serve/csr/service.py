"""The service by which Istio's agents, and whoever keeps a key of its own, have certificates signed."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from controlplane.ca.certificates import BadCertificate, workload_certificate
from controlplane.ca.csr import MAX_BYTES, BadSigningRequest, public_key_of
from controlplane.errors import NavarchError
from controlplane.model.identity import Identity
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, StreamEnd, authenticate
from controlplane.serve.authn.authenticators import Authenticator, CallContext, Caller, Unauthenticated
from controlplane.serve.csr.istio_ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from controlplane.serve.csr.rate_limit import RateLimiter
from controlplane.serve.sds.secrets import SigningAuthority

log = logging.getLogger(__name__)

SERVICE = "istio.v1.auth.IstioCertificateService"
_DEFAULT = dt.timedelta(days=1)
_PER_S, _IN_A_MOMENT = 20.0, 20  # of one workload: one that asks without end is told to wait, and the others do not
_HELD_S = (0.5, 1.5)  # as a connection may have so many calls open, what is told slowly that it comes too often does not come often
_AT_ONCE = 4  # requests that are worked on; others wait, so that streams are served meanwhile
_WAITING = 200
_MOST = 2 * MAX_BYTES  # of a whole call, before it is looked at: agents add a few words about themselves to the request


class CsrCall(CallContext, Protocol):
    """One call."""

    def abort(self, code: grpc.StatusCode, details: str) -> Awaitable[NoReturn]:
        """End the call."""


class RateLimited(NavarchError):
    """Somebody who asks more often than anybody needs to."""


class CertificateSigner:
    """Signs requests."""

    def __init__(
        self,
        authority: SigningAuthority,
        clock: Callable[[], dt.datetime],
        longest: dt.timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sign by ``authority``, for ``longest`` at most; ``monotonic`` tells how often somebody comes."""
        self._authority = authority
        self._clock = clock
        self._longest = longest
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._pace = RateLimiter(_PER_S, _IN_A_MOMENT, monotonic)
        self._waiting = 0
        self.answers: Counter[str] = Counter(signed=0, refused=0, limited=0, failed=0)

    async def sign(self, caller: Caller, csr: str, seconds: int) -> list[str]:
        """Return the certificate of ``caller`` for the key of ``csr``, then its chain, the root last.

        Raises BadRequest, BadCertificate, TooOften, and Denied where nobody in particular asks.
        """
        try:
            chain = await self._sign(caller, csr, seconds)
        except (BadSigningRequest, RateLimited, BadCertificate) as error:
            self.answers[_ANSWERS[type(error)]] += 1
            raise
        self.answers["signed"] += 1
        return chain

    async def _sign(self, caller: Caller, csr: str, seconds: int) -> list[str]:
        who = caller.who
        if who is None:
            raise Unauthenticated("nobody in particular asks for a certificate")
        longest = int(self._longest.total_seconds())
        if not 0 <= seconds <= longest:
            raise BadSigningRequest(f"expected a validity of at most {longest} seconds")
        if len(csr) > MAX_BYTES:
            raise BadSigningRequest(f"expected a request of at most {MAX_BYTES} bytes")
        if not self._pace.allows((who, caller.pod)):
            raise RateLimited("requests come too often")
        if self._waiting >= _WAITING:
            raise BadCertificate("too many requests wait")
        self._waiting += 1
        try:
            async with self._places:
                lifetime = dt.timedelta(seconds=seconds) if seconds else _DEFAULT
                return await asyncio.to_thread(self._signed, who, csr.encode(), lifetime)
        finally:
            self._waiting -= 1

    def _signed(self, who: Identity, csr: bytes, lifetime: dt.timedelta) -> list[str]:
        key, issuer = public_key_of(csr), self._authority.state.signing
        chain = workload_certificate(issuer.signer, who, key, self._clock(), lifetime).decode()
        end = "-----END CERTIFICATE-----\n"
        return [*(part + end for part in chain.split(end) if part.strip()), issuer.root.decode()]


_ANSWERS: Mapping[type[NavarchError], str] = {BadSigningRequest: "refused", RateLimited: "limited", BadCertificate: "failed"}


def csr_handler(issuing: CertificateSigner, authenticator: Authenticator) -> grpc.GenericRpcHandler:
    """Return the service, for those who come in by ``authenticator``; nothing of a request is read before that."""

    async def create(request: bytes, call: CsrCall) -> IstioCertificateResponse:
        caller = await authenticate(authenticator, call)
        try:
            found = caller if isinstance(caller, StreamEnd) else await _answer(issuing, caller, request)
        except Exception:  # ours; left alone, gRPC would tell the peer all about it
            log.exception("request not signed")
            found = INTERNAL_ERROR
        if isinstance(found, StreamEnd):
            await call.abort(found.code, found.details)
        return found

    method: grpc.RpcMethodHandler[bytes, IstioCertificateResponse] = grpc.unary_unary_rpc_method_handler(
        create, response_serializer=IstioCertificateResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": method})


async def _answer(issuing: CertificateSigner, caller: Caller, request: bytes) -> IstioCertificateResponse | StreamEnd:
    facts = {"identity": str(caller.who)}
    if len(request) > _MOST:
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, f"expected at most {_MOST} bytes")
    try:
        asked = IstioCertificateRequest.FromString(request)
        return IstioCertificateResponse(cert_chain=await issuing.sign(caller, asked.csr, asked.validity_duration))
    except DecodeError:
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, "expected a certificate request, found bytes that are none")
    except BadSigningRequest as error:
        log.info("request not signed", extra={**facts, "reason": str(error)})
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except Unauthenticated:
        return StreamEnd(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
    except RateLimited as error:
        log.debug("request not signed", extra={**facts, "reason": str(error)})
        await asyncio.sleep(random.uniform(*_HELD_S))  # noqa: S311 - so that they do not come again together
        return StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
    except BadCertificate as error:
        log.warning("request not signed", extra={**facts, "reason": str(error)})
        return StreamEnd(grpc.StatusCode.UNAVAILABLE, "no certificate can be issued now")
