"""navarch validate looks at the Secrets that are among the manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.cli import navarch
from tests.support.tls_secrets import gateway, pair, secret

BROKEN = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({}, None),
        ({"tls.key": "none"}, "Secret/edge/shop: tls.key: the key is no private key"),
        ({"ca.crt": pair().certificate.decode() + BROKEN}, "Secret/edge/shop: ca.crt: certificate"),
        ({"ca.crt": pair().certificate.decode(), "ca.crl": "none"}, "Secret/edge/shop: ca.crl: expected lists"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_where_it_is_named(tmp_path: Path, entries: dict[str, str], said: str | None) -> None:
    written = secret(pair(), **entries)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([gateway(mode="MUTUAL"), written]))

    found = json.loads(navarch("validate", "-f", str(tmp_path), "-o", "json").stdout)

    told = [(row["field"], row["message"]) for row in found if row["code"] == "BadCredential"]
    assert len(told) == (0 if said is None else 1)
    assert said is None or told[0][1].startswith(said), told
