"""``python -m tests.support.csr_flood ADDRESS FOLDER PER_S SECONDS``: ask for certificates without end, print the outcome as JSON.

``FOLDER`` holds ``root.pem``, ``token`` and ``csr.pem``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import grpc
import grpc.aio

from controlplane.serve.csr.service import SERVICE
from controlplane.serve.istio_ca_pb2 import IstioCertificateRequest, IstioCertificateResponse

Sign = grpc.aio.UnaryUnaryMultiCallable[IstioCertificateRequest, IstioCertificateResponse]
_PIECE_S = 0.01


def signing(channel: grpc.aio.Channel) -> Sign:
    """Return the method that signs."""
    return channel.unary_unary(
        f"/{SERVICE}/CreateCertificate",
        request_serializer=IstioCertificateRequest.SerializeToString,
        response_deserializer=IstioCertificateResponse.FromString,
    )


async def asked(sign: Sign, csr: str, token: str, seconds: int = 3600) -> grpc.StatusCode:
    """Return how one request ends."""
    try:
        await sign(IstioCertificateRequest(csr=csr, validity_duration=seconds), metadata=(("authorization", f"Bearer {token}"),))
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def main(address: str, folder: Path, per_s: float, seconds: float) -> None:
    """Do it."""
    credentials = grpc.ssl_channel_credentials((folder / "root.pem").read_bytes())
    token, csr = (folder / "token").read_text(), (folder / "csr.pem").read_text()
    codes: Counter[str] = Counter()

    async def one(sign: Sign) -> None:
        codes[(await asked(sign, csr, token)).name] += 1

    async with grpc.aio.secure_channel(address, credentials, (("grpc.ssl_target_name_override", "localhost"),)) as channel:
        sign = signing(channel)
        print(json.dumps((await asked(sign, csr, token)).name), flush=True)
        began, sent = time.monotonic(), 0
        calls = []
        while (now := time.monotonic() - began) < seconds:
            for _ in range(int(now * per_s) - sent):
                calls.append(asyncio.create_task(one(sign)))
                sent += 1
            await asyncio.sleep(_PIECE_S)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    print(json.dumps({"per_s": round(sent / seconds), **codes}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
