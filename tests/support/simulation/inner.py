"""A process within a network namespace: clients, the server that everything ends at, and a name server.

``python -m tests.support.simulation.inner`` takes a JSON array of calls a line, and answers each line with what came of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import ssl
import struct
import sys
from typing import TypedDict, cast

SINK_PORT = 19999
NAME_SERVER = ("127.0.0.1", 53)
_ORIGINAL_DESTINATION = 80
_PATIENCE_S = 20.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY = 0, 1, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


class Call(TypedDict):
    """A connection from ``source`` to ``destination`` that begins with ``kind``."""

    source: str
    destination: str
    port: int
    kind: str  # tls, http1, http10, http2, raw, silent; mtls-http1 and mtls-raw: within a whole TLS handshake
    server_name: str
    protocols: list[str]
    method: str
    authority: str
    path: str
    headers: list[tuple[str, str]]
    certificate: str  # of a client that finishes its handshake: a file with it and its key; empty: it has none


class Result(TypedDict):
    """The port that the call came from, and what it was answered."""

    port: int
    answer: str


async def call(given: Call, port: int) -> Result:
    """Make the call from ``port``, and read until the other end has no more to say."""
    try:
        reader, writer = await asyncio.open_connection(
            given["destination"], given["port"], local_addr=(given["source"], port), **secured(given)
        )
    except (ssl.SSLError, ConnectionError):
        return {"port": port, "answer": ""}
    answer = b""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            writer.write(first_bytes(given))
            if given["kind"] == "http2":
                answer = await http2_answer(reader, writer)
            elif given["kind"] != "silent":
                answer = await plain_answer(reader)
    except (OSError, asyncio.IncompleteReadError):
        pass  # what has been read is what there is
    except TimeoutError:
        answer = b"nothing within the time"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return {"port": port, "answer": answer.decode("latin-1")}


class _Secured(TypedDict, total=False):
    ssl: ssl.SSLContext
    server_hostname: str


def secured(given: Call) -> _Secured:
    """Return how the connection is secured, nothing where it is not, or no handshake is finished."""
    if not given["kind"].startswith("mtls-"):
        return {}
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if given["protocols"]:
        context.set_alpn_protocols(given["protocols"])
    if given["certificate"]:
        context.load_cert_chain(given["certificate"])
    return {"ssl": context, "server_hostname": given["server_name"]}


def first_bytes(given: Call) -> bytes:
    """Return what the client sends."""
    match given["kind"].removeprefix("mtls-"):
        case "tls":
            return hello(given["server_name"], given["protocols"])
        case "http1" | "http10":
            version = "1.0" if given["kind"] == "http10" else "1.1"
            headers = [("Host", given["authority"]), *given["headers"], ("Connection", "close")]
            lines = [f"{given['method']} {given['path']} HTTP/{version}", *(f"{name}: {value}" for name, value in headers), "", ""]
            return "\r\n".join(lines).encode()
        case "http2":
            pseudo = [(":method", given["method"]), (":scheme", "http"), (":authority", given["authority"]), (":path", given["path"])]
            block = b"".join(literal(name.lower(), value) for name, value in [*pseudo, *given["headers"]])
            return _PREFACE + frame(_SETTINGS, 0, 0, b"") + frame(_HEADERS, _END_STREAM | _END_HEADERS, 1, block)
        case "raw":
            return b"\x00\x01raw bytes\r\n\r\n"
        case _:
            return b""


def hello(server_name: str, protocols: list[str]) -> bytes:
    """Return the first message of a TLS handshake."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    sent = ssl.MemoryBIO()
    half = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name or None)
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    return sent.read()


def literal(name: str, value: str) -> bytes:
    """Return a header for HPACK, without index and without Huffman's code (RFC 7541, 6.2.2)."""
    return b"\x00" + b"".join(text_of(text.encode()) for text in (name, value))


def text_of(text: bytes) -> bytes:
    """Return ``text`` with its length before it; the lengths of these tests are below 254."""
    return (bytes([len(text)]) if len(text) < 127 else bytes([127, len(text) - 127])) + text


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    """Return kind, flags, stream and payload of the next frame."""
    head = await reader.readexactly(9)
    payload = await reader.readexactly(int.from_bytes(head[:3]))
    return head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF, payload


async def plain_answer(reader: asyncio.StreamReader) -> bytes:
    """Return all that there is to read; of an answer by HTTP, its head and body: Envoy waits a second for the client to close."""
    answer = b""
    while more := await reader.read(4096):
        answer += more
        head, ended, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if head.startswith(b"HTTP/1") and ended and length and len(body) >= int(length[1]):
            break
    return answer


async def http2_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the body of the answer to the one request of a connection."""
    body = b""
    while True:
        kind, flags, _, payload = await next_frame(reader)
        body += payload if kind == _DATA else b""
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(frame(_SETTINGS, _ACK, 0, b""))
        if kind == _GOAWAY or (kind in {_DATA, _HEADERS} and flags & _END_STREAM):
            return body


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell whoever comes which address was contacted, in the protocol in which it comes."""
    taken: socket.socket = writer.get_extra_info("socket")
    port, host = struct.unpack("!2xH4s8x", taken.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16))
    said = f"<{socket.inet_ntop(socket.AF_INET, host)}:{port}>".encode()
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        begun = await reader.read(24)
        if begun.startswith(_PREFACE[: len(begun)]) and begun:
            await reader.readexactly(len(_PREFACE) - len(begun))
            await http2_sink(reader, writer, said)
        elif begun[:1].isalpha():
            while b"\r\n\r\n" not in begun and (more := await reader.read(4096)):
                begun += more
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(said), said))
        else:
            writer.write(said)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def http2_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> None:
    """Answer every request of a connection of HTTP/2."""
    writer.write(frame(_SETTINGS, 0, 0, b""))
    while True:
        kind, flags, stream, payload = await next_frame(reader)
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(frame(_PING, _ACK, 0, payload))
        elif kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            ok = b"\x88"  # the entry ":status: 200" of the static table
            writer.write(frame(_HEADERS, _END_HEADERS, stream, ok) + frame(_DATA, _END_STREAM, stream, said))
        await writer.drain()


class NameServer(asyncio.DatagramProtocol):
    """Knows one address for every name (``address_of``), and none by IPv6."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer by."""
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question (RFC 1035)."""
        labels, place = [], 12
        while data[place]:
            labels.append(data[place + 1 : place + 1 + data[place]].decode())
            place += 1 + data[place]
        question = data[12 : place + 5]
        kind = int.from_bytes(data[place + 1 : place + 3])
        answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04" + socket.inet_aton(address_of(".".join(labels))) if kind == 1 else b""
        self.transport.sendto(data[:2] + b"\x81\x80\x00\x01" + struct.pack("!HHH", bool(answer), 0, 0) + question + answer, addr)


def address_of(name: str) -> str:
    """Return the address of the host ``name``."""
    return f"198.18.{sum(name.lower().encode()) % 200}.{len(name)}"


async def main() -> None:
    """Do what comes by standard input until it ends."""
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(sink, "0.0.0.0", SINK_PORT, backlog=512)
    await loop.create_datagram_endpoint(NameServer, NAME_SERVER)
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # iptables give a connection another port if one from the same port of the same address was redirected a moment ago.
    ports = itertools.cycle(range(20000, 60000))
    async with server:
        while line := await reader.readline():
            results = await asyncio.gather(*(call(given, next(ports)) for given in json.loads(line)))
            print(json.dumps(results), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
