"""What a key and its value register, in the layouts that libraries write; the value alone tells which it is.

- gRPC's naming: ``PREFIX/SERVICE/ADDR`` has ``{"Op": 0, "Addr": "host:port", "Metadata": …}``.
  https://pkg.go.dev/go.etcd.io/etcd/client/v3/naming
- go-micro: ``PREFIX/SERVICE/NODE`` has ``{"name": …, "nodes": [{"id": …, "address": "host:port", "metadata": {…}}]}``.
- kratos: ``PREFIX/SERVICE/ID`` has ``{"id": …, "name": …, "metadata": {…}, "endpoints": ["grpc://host:port?isSecure=false"]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from controlplane.sources.registry.metadata import MAX_WEIGHT, WEIGHT, ZONE, number_of, settings_of
from controlplane.sources.registry.registration import Instance, NamedPort
from controlplane.untyped import Json, items, section, text

MAX_VALUE = 65_536  # bytes
_REGION = "region"
_DELETE = 1  # an Op of gRPC's older naming
_SECURE = {"grpc": "tls", "http": "https"}
_MAX_NODES = 4096


class Registered(NamedTuple):
    """What one key registers."""

    instances: tuple[Instance, ...] = ()
    remarks: tuple[str, ...] = ()  # what of it cannot be used, in words


def service_of(key: str, prefix: str) -> str | None:
    """Return the service that ``key`` below ``prefix`` is about: what stands before its last part; ``None`` where that is nothing."""
    path = key.removeprefix(prefix).strip("/").rpartition("/")[0]
    return path.replace("/", ".") or None


def registered(key: str, value: bytes) -> Registered:
    """Return what ``key`` registers by ``value``."""
    if len(value) > MAX_VALUE:
        return _useless(key, f"expected a value of at most {MAX_VALUE} bytes")
    try:
        data = json.loads(value)
    except (ValueError, RecursionError):
        return _useless(key, "expected JSON")
    if not isinstance(data, dict):
        return _useless(key, "expected a JSON object")
    if isinstance(data.get("Addr"), str):
        return _grpc_naming(key, data)
    if isinstance(data.get("nodes"), list):
        return _go_micro(key, data)
    if isinstance(data.get("endpoints"), list):
        return _kratos(key, data)
    return _useless(key, "expected Addr (gRPC's naming), nodes (go-micro) or endpoints (kratos)")


def _useless(key: str, reason: str) -> Registered:
    return Registered(remarks=(f"key {key[:200]} is left out: {reason}",))


def _grpc_naming(key: str, data: Json) -> Registered:
    if data.get("Op") == _DELETE:
        return Registered()
    metadata = _texts(section(data, "Metadata"))
    return _instance(key, key, _host_and_port(text(data, "Addr")), {"protocol": "grpc", **metadata})


def _go_micro(key: str, data: Json) -> Registered:
    instances: list[Instance] = []
    remarks: list[str] = []
    common = {**_texts(section(data, "metadata")), **({"version": version} if (version := text(data, "version")) else {})}
    for node in items(data, "nodes")[:_MAX_NODES]:
        metadata = {**common, **_texts(section(node, "metadata"))}
        found = _instance(key, f"{key}#{text(node, 'id')[:256]}", _host_and_port(text(node, "address")), metadata)
        instances += found.instances
        remarks += found.remarks
    return Registered(tuple(instances), tuple(remarks))


def _kratos(key: str, data: Json) -> Registered:
    urls = [url for url in _urls(data.get("endpoints")) if url.hostname]
    if not urls:
        return _useless(key, "expected endpoints such as grpc://10.0.0.1:9000")
    host = urls[0].hostname or ""
    ports: dict[str, int] = {}
    remarks: list[str] = []
    for url in urls:
        port = _port(url)
        secure = parse_qs(url.query).get("isSecure") == ["true"]
        protocol = _SECURE.get(url.scheme, url.scheme) if secure else url.scheme
        if url.hostname != host or port is None or protocol in ports:
            remarks.append(
                f"key {key[:200]}: the endpoint {url.geturl()[:80]} is left out: expected one for each protocol, all at one host"
            )
        else:
            ports[protocol] = port
    version = {"version": text(data, "version")} if text(data, "version") else {}
    metadata = {**version, **_texts(section(data, "metadata"))}
    found = _instance(key, key, (host, next(iter(ports.values()), 0)), metadata)
    named = tuple(NamedPort(protocol, number) for protocol, number in sorted(ports.items()))
    return Registered(tuple(replace(instance, ports=named) for instance in found.instances), (*remarks, *found.remarks))


def _instance(key: str, identifier: str, where: tuple[str, int], metadata: Mapping[str, str]) -> Registered:
    settings = settings_of({name: value for name, value in metadata.items() if name != WEIGHT})
    weight = number_of(metadata.get(WEIGHT, "1"), MAX_WEIGHT)
    remarks = [*settings.remarks] + ([] if weight is not None else [f"{WEIGHT}: expected a number from 0 to {MAX_WEIGHT}: 1 is used"])
    zone, region = metadata.get(ZONE, ""), metadata.get(_REGION, "")
    instance = Instance(
        id=identifier,
        address=where[0],
        ports=(NamedPort("", where[1]),),
        origin=f"key {key}",
        weight=1 if weight is None else weight,
        labels=settings.labels,
        locality=f"{region}/{zone}" if zone else region,
        account=settings.account,
        identity=settings.identity,
        protocol=settings.protocol,
        service_port=settings.service_port,
    )
    return Registered((instance,), tuple(f"key {key[:200]}: {remark}" for remark in remarks))


def _host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of ``address``; port 0 where there is none."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), number_of(port, 65535) or 0


def _urls(values: object) -> Iterator[SplitResult]:
    for value in values[:_MAX_NODES] if isinstance(values, list) else ():
        if isinstance(value, str):
            try:
                yield urlsplit(value)
            except ValueError:
                continue


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        return None


def _texts(data: Json) -> dict[str, str]:
    """Return the fields of ``data`` that are texts, numbers or truth values, as texts."""
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in data.items() if isinstance(value, str | int | float)
    }
