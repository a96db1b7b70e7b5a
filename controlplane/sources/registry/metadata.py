"""What instances say of themselves in a registry by names and values: settings of ours, and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controlplane.model.services import Labels
from controlplane.objects.types.names import MAX_LABEL, label_error

PROTOCOL = "protocol"
PORT = "port"
ACCOUNT = "service-account"
IDENTITY = "identity"
WEIGHT = "weight"
ZONE = "zone"
MAX_LABELS = 128
MAX_WEIGHT = 65535  # as Consul has it
_SETTINGS = (PROTOCOL, PORT, ACCOUNT, IDENTITY)
_UNFIT_KEY = re.compile(r"[^A-Za-z0-9._/-]+")
_UNFIT_VALUE = re.compile(r"[^A-Za-z0-9._-]+")
_ENDS = "-_."


class InstanceSettings(NamedTuple):
    """What the metadata of an instance says to the mesh."""

    labels: Labels
    protocol: str
    service_port: int
    account: str
    identity: str
    remarks: tuple[str, ...]  # what of it cannot be used, in words


def settings_of(metadata: Mapping[str, str], labels: Iterable[tuple[str, str]] = ()) -> InstanceSettings:
    """Return what ``metadata`` says; ``labels`` are some besides, which it overrules."""
    remarks: list[str] = []
    port = number_of(metadata.get(PORT, "0"), 65535)
    if port is None:
        remarks.append(f"{PORT}: expected a number from 1 to 65535, found {metadata[PORT][:40]!r}")
    identity = metadata.get(IDENTITY, "")
    pairs = {**dict(labels), **{name: value for name, value in metadata.items() if name not in _SETTINGS}}
    return InstanceSettings(
        labels=fit_labels(pairs),
        protocol=metadata.get(PROTOCOL, "").lower(),
        service_port=port or 0,
        account=metadata.get(ACCOUNT, ""),
        identity=identity,
        remarks=tuple(remarks),
    )


def number_of(text: str, most: int) -> int | None:
    """Return the whole number from 0 to ``most`` that ``text`` writes in digits, ``None`` if it does not."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= most else None


def fit_labels(pairs: Mapping[str, str]) -> Labels:
    """Return ``pairs`` as labels, sorted: what is not fit for one becomes "-", what is too long is cut. Of equal names the first counts."""
    labels: dict[str, str] = {}
    for name, value in sorted(pairs.items()):
        if label_error(name, value) is None:
            labels.setdefault(name, value)
            continue
        prefix, slash, short = _UNFIT_KEY.sub("-", name).rpartition("/")
        fit_name = f"{prefix.lower()}{slash}{_cut(short)}"
        fit_value = _cut(_UNFIT_VALUE.sub("-", value))
        if label_error(fit_name, fit_value) is None:
            labels.setdefault(fit_name, fit_value)
    return tuple(sorted(labels.items())[:MAX_LABELS])


def _cut(text: str) -> str:
    return text.strip(_ENDS)[:MAX_LABEL].rstrip(_ENDS)
