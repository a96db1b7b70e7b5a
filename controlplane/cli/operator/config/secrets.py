"""Secrets as a table: of certificates what they say, of keys only that they are there. What uses a secret and has none is shown too."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterator, Mapping

from controlplane.cli.operator.config.proxy_config import ProxyResources
from controlplane.cli.operator.config.rows import ConfigRow, RowFacts
from controlplane.untyped import Json, section, text

COLUMNS = ("RESOURCE NAME", "TYPE", "STATUS", "VALID", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE")


def secret_rows(config: ProxyResources, now: float) -> Iterator[ConfigRow]:
    """Yield the rows of the secrets in ``config``, ``now``, in seconds since the epoch."""
    there = config.of("secrets")
    for name, resource in sorted(there.items()):
        yield _row(name, _described(resource.message, now))
    used = {name for kind in ("listeners", "clusters") for each in config.of(kind).values() for name in _named(each.message)}
    for name in sorted(used - there.keys()):
        yield _row(name, {"TYPE": "-", "STATUS": "named"})


def _row(name: str, cells: Mapping[str, str]) -> ConfigRow:
    return ConfigRow(name, {column: cells.get(column, "-") for column in COLUMNS} | {"RESOURCE NAME": name}, RowFacts(name))


def _described(secret: Json, now: float) -> Mapping[str, str]:
    certificate = section(section(secret, "tlsCertificate"), "certificateChain")
    roots = section(section(secret, "validationContext"), "trustedCa")
    if not certificate and not roots:
        return {"TYPE": "Generic" if section(secret, "genericSecret") else "-", "STATUS": "ACTIVE"}
    return {"TYPE": "Cert Chain" if certificate else "CA", "STATUS": "ACTIVE", **_certificate(certificate or roots, now)}


def _certificate(source: Json, now: float) -> Mapping[str, str]:
    from cryptography import x509

    try:
        pem = base64.b64decode(text(source, "inlineBytes")) or text(source, "inlineString").encode()
        first = x509.load_pem_x509_certificates(pem)[0]
    except (ValueError, binascii.Error, IndexError):
        return {"VALID": "unknown"}
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    return {
        "VALID": "true" if first.not_valid_before_utc <= at <= first.not_valid_after_utc else "false",
        "SERIAL NUMBER": f"{first.serial_number:x}",
        "NOT AFTER": first.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        "NOT BEFORE": first.not_valid_before_utc.isoformat().replace("+00:00", "Z"),
    }


def _named(value: object) -> Iterator[str]:
    """Yield the names of the secrets that ``value``, JSON, asks for by SDS."""
    if isinstance(value, dict):
        if "sdsConfig" in value and isinstance(value.get("name"), str):
            yield value["name"]
        for each in value.values():
            yield from _named(each)
    elif isinstance(value, list):
        for each in value:
            yield from _named(each)
