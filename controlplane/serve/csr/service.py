"""The service by which Istio's agents, and workloads that keep a key of their own, have certificates signed."""

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
from controlplane.errors import NavarchError, PeerError
from controlplane.model.identity import Identity
from controlplane.model.telemetry.workloads import WorkloadNames
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, StreamEnd, authenticate
from controlplane.serve.authn.authenticators import Authenticator, CallContext, Caller, Unauthenticated
from controlplane.serve.authn.rate_limit import RateLimiter
from controlplane.serve.istio_ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from controlplane.serve.sds.secrets import NamesOf, SigningAuthority

log = logging.getLogger(__name__)

SERVICE = "istio.v1.auth.IstioCertificateService"
_DEFAULT_LIFETIME = dt.timedelta(days=1)
_RATE_PER_S, _BURST = 20.0, 20  # of one workload: one that asks without end is refused, and the others do not wait for it
_REJECTION_DELAY_S = (0.5, 1.5)  # a connection may have only so many calls open, so slow refusals keep its rate down
_MAX_CONCURRENT = 4  # requests that are worked on; others wait, so that streams are served meanwhile
_MAX_WAITING = 200
_MAX_REQUEST_BYTES = 2 * MAX_BYTES  # of a whole call, before it is looked at: agents add a few words about themselves to the request


class CsrCall(CallContext, Protocol):
    """One call."""

    def abort(self, code: grpc.StatusCode, details: str) -> Awaitable[NoReturn]:
        """End the call."""


class RateLimited(PeerError):
    """The caller asks more often than any workload needs to."""


class CertificateSigner:
    """Signs requests."""

    def __init__(
        self,
        authority: SigningAuthority,
        clock: Callable[[], dt.datetime],
        max_lifetime: dt.timedelta,
        monotonic: Callable[[], float] = time.monotonic,
        names_of: NamesOf = lambda _who, _pod: None,
    ) -> None:
        """Sign by ``authority``, for ``max_lifetime`` at most; rates are by ``monotonic``, what is said of pods by ``names_of``."""
        self._names_of = names_of
        self._authority = authority
        self._clock = clock
        self._max_lifetime = max_lifetime
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._rate_limiter = RateLimiter(_RATE_PER_S, _BURST, monotonic)
        self._waiting = 0
        self.answers: Counter[str] = Counter(signed=0, refused=0, limited=0, failed=0)

    async def sign(self, caller: Caller, csr: str, seconds: int) -> list[str]:
        """Return the certificate of ``caller`` for the key of ``csr``, then its chain, the root last.

        Raises BadSigningRequest, BadCertificate, RateLimited, and Unauthenticated where the caller is anonymous.
        """
        try:
            chain = await self._sign(caller, csr, seconds)
        except (BadSigningRequest, RateLimited, BadCertificate) as error:
            self.answers[_OUTCOMES[type(error)]] += 1
            raise
        self.answers["signed"] += 1
        return chain

    async def _sign(self, caller: Caller, csr: str, seconds: int) -> list[str]:
        who = caller.who
        if who is None:
            raise Unauthenticated("nobody in particular asks for a certificate")
        max_seconds = int(self._max_lifetime.total_seconds())
        if not 0 <= seconds <= max_seconds:
            raise BadSigningRequest(f"expected a validity of at most {max_seconds} seconds")
        if len(csr) > MAX_BYTES:
            raise BadSigningRequest(f"expected a request of at most {MAX_BYTES} bytes")
        if not self._rate_limiter.allows((who, caller.pod)):
            raise RateLimited("requests come too often")
        if self._waiting >= _MAX_WAITING:
            raise BadCertificate("too many requests wait")
        self._waiting += 1
        try:
            async with self._slots:
                lifetime = dt.timedelta(seconds=seconds) if seconds else _DEFAULT_LIFETIME
                return await asyncio.to_thread(self._certificate_chain, who, csr.encode(), lifetime, self._names_of(who, caller.pod))
        finally:
            self._waiting -= 1

    def _certificate_chain(self, who: Identity, csr: bytes, lifetime: dt.timedelta, names: WorkloadNames | None) -> list[str]:
        key, issuer = public_key_of(csr), self._authority.state.signing
        chain = workload_certificate(issuer.signer, who, key, self._clock(), lifetime, names).decode()
        end = "-----END CERTIFICATE-----\n"
        return [*(part + end for part in chain.split(end) if part.strip()), issuer.root.decode()]


_OUTCOMES: Mapping[type[NavarchError], str] = {BadSigningRequest: "refused", RateLimited: "limited", BadCertificate: "failed"}


def csr_handler(signer: CertificateSigner, authenticator: Authenticator) -> grpc.GenericRpcHandler:
    """Return the service, for callers that ``authenticator`` admits; nothing of a request is read before that."""

    async def create(request: bytes, call: CsrCall) -> IstioCertificateResponse:
        caller = await authenticate(authenticator, call)
        try:
            response = caller if isinstance(caller, StreamEnd) else await _respond(signer, caller, request)
        except Exception:  # an internal error; left alone, gRPC would send its text to the peer
            log.exception("request not signed")
            response = INTERNAL_ERROR
        if isinstance(response, StreamEnd):
            await call.abort(response.code, response.details)
        return response

    method: grpc.RpcMethodHandler[bytes, IstioCertificateResponse] = grpc.unary_unary_rpc_method_handler(
        create, response_serializer=IstioCertificateResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": method})


async def _respond(signer: CertificateSigner, caller: Caller, request: bytes) -> IstioCertificateResponse | StreamEnd:
    log_fields = {"identity": str(caller.who)}
    if len(request) > _MAX_REQUEST_BYTES:
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, f"expected at most {_MAX_REQUEST_BYTES} bytes")
    try:
        message = IstioCertificateRequest.FromString(request)
        return IstioCertificateResponse(cert_chain=await signer.sign(caller, message.csr, message.validity_duration))
    except DecodeError:
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, "expected a certificate request, found bytes that are none")
    except BadSigningRequest as error:
        log.info("request not signed", extra={**log_fields, "reason": str(error)})
        return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except Unauthenticated:
        return StreamEnd(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
    except RateLimited as error:
        log.debug("request not signed", extra={**log_fields, "reason": str(error)})
        await asyncio.sleep(random.uniform(*_REJECTION_DELAY_S))  # noqa: S311 - so that callers do not retry together
        return StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
    except BadCertificate as error:
        log.warning("request not signed", extra={**log_fields, "reason": str(error)})
        return StreamEnd(grpc.StatusCode.UNAVAILABLE, "no certificate can be issued now")
