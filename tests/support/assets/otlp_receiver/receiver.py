"""Receives OTLP by gRPC and HTTP, and writes what comes as the collector's file exporter does: a JSON object a line.

Runs in an environment of its own: ADDRESS GRPC_PORT HTTP_PORT FILE.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message


def message(module: str, name: str) -> type[Message]:
    """Return the class ``name`` of OTLP's ``module``; the ones that a type checker finds are another's."""
    found: type[Message] = getattr(importlib.import_module(f"opentelemetry.proto.collector.{module}_pb2"), name)
    return found


TRACES, LOGS = "trace.v1.trace_service", "logs.v1.logs_service"
SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": (
        message(TRACES, "ExportTraceServiceRequest"),
        message(TRACES, "ExportTraceServiceResponse"),
    ),
    "opentelemetry.proto.collector.logs.v1.LogsService": (
        message(LOGS, "ExportLogsServiceRequest"),
        message(LOGS, "ExportLogsServiceResponse"),
    ),
}
PATHS = {"/v1/traces": message(TRACES, "ExportTraceServiceRequest"), "/v1/logs": message(LOGS, "ExportLogsServiceRequest")}
IDS = ("traceId", "spanId", "parentSpanId")


class Writer:
    """Writes what came, one batch at a time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.Lock()

    def write(self, message: Message) -> None:
        line = json.dumps(with_hex_ids(json_format.MessageToDict(message, use_integers_for_enums=True)))
        with self.lock, self.file.open("a") as output:
            output.write(f"{line}\n")


def encoded(message: Message) -> bytes:
    return message.SerializeToString()


def with_hex_ids(value: object) -> object:
    """Return ``value`` with the ids of spans as OTLP has them in JSON, which is not as protobuf has bytes."""
    if isinstance(value, dict):
        return {name: base64.b64decode(each).hex() if name in IDS else with_hex_ids(each) for name, each in value.items()}
    return [with_hex_ids(each) for each in value] if isinstance(value, list) else value


def main(address: str, grpc_port: str, http_port: str, file: str) -> None:
    writer = Writer(Path(file))
    server = grpc.server(ThreadPoolExecutor(4))
    for name, (request, answer) in SERVICES.items():

        def export(message: Message, _: object, answer: type[Message] = answer) -> Message:
            writer.write(message)
            return answer()

        handler: grpc.RpcMethodHandler[Message, Message] = grpc.unary_unary_rpc_method_handler(
            export, request.FromString, lambda message: message.SerializeToString()
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": handler}),))
    server.add_insecure_port(f"{address}:{grpc_port}")
    server.start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            writer.write(PATHS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer((address, int(http_port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
