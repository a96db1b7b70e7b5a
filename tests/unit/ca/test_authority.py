"""One root follows another in three phases, none of them out of order; what is stored is whole or it is nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import BadCertificate, as_pem, authority, key_pem, read_certificates, workload_certificate
from controlplane.ca.rotation import (
    CACERTS,
    TLS_SECRET,
    AuthorityFiles,
    AuthorityState,
    CertificateIssuer,
    OutOfOrder,
    Phase,
    activate,
    dump_state,
    initial_state,
    issuer_from_files,
    load_state,
    new_issuer,
    prepare,
    retire,
)
from controlplane.model.identity import Identity

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def fresh(*, below: bool = False) -> CertificateIssuer:
    return new_issuer(key(), NOW, YEAR, key() if below else None)


def test_a_root_is_trusted_before_it_signs_and_signs_before_the_old_one_goes() -> None:
    old, new = fresh(), fresh()
    steady = initial_state(old)
    prepared = prepare(steady, new)
    activated = activate(prepared, missing=0)
    retired = retire(activated, missing=0)

    assert [each.signing for each in (steady, prepared, activated, retired)] == [old, old, new, new]
    assert [each.bundle for each in (steady, prepared, activated, retired)] == [
        old.root,
        old.root + new.root,
        old.root + new.root,
        new.root,
    ]
    assert len({each.bundle_id for each in (steady, prepared, retired)}) == 3


def test_no_phase_comes_before_its_turn() -> None:
    steady = initial_state(fresh())
    prepared = prepare(steady, fresh())
    activated = activate(prepared, missing=0)

    wrong: list[Callable[[], AuthorityState]] = [
        lambda: activate(steady, missing=0),
        lambda: retire(steady, missing=0),
        lambda: prepare(prepared, fresh()),
        lambda: retire(prepared, missing=0),
        lambda: activate(prepared, missing=1),
        lambda: prepare(activated, fresh()),
        lambda: activate(activated, missing=0),
        lambda: retire(activated, missing=3),
        lambda: prepare(steady, steady.issuers[0]),
    ]
    for each in wrong:
        with pytest.raises(OutOfOrder):
            each()


@pytest.mark.parametrize("below", [False, True])
def test_what_is_stored_is_read_again_and_signs_as_before(*, below: bool) -> None:
    for state in (initial_state(fresh(below=below)), prepare(initial_state(fresh(below=below)), fresh()), _activated(below=below)):
        found = load_state(dump_state(state))

        assert (found.phase, found.bundle, found.signing.fingerprint) == (state.phase, state.bundle, state.signing.fingerprint)
        leaf, *chain = read_certificates(
            workload_certificate(found.signing.signer, Identity("td", "a", "b"), key().public_key(), NOW, YEAR)
        )
        path = (
            [*chain, *read_certificates(found.signing.root)]
            if below and found.signing.signer.chain
            else read_certificates(found.signing.root)
        )
        leaf.verify_directly_issued_by(path[0])


def _activated(*, below: bool) -> AuthorityState:
    return activate(prepare(initial_state(fresh()), fresh(below=below)), missing=0)


def test_a_part_of_what_was_stored_is_not_taken_for_a_state() -> None:
    whole = dump_state(prepare(initial_state(fresh()), fresh()))
    for at in range(0, len(whole), 97):
        with pytest.raises(BadCertificate):
            load_state(whole[:at])
    with pytest.raises(BadCertificate):
        load_state(whole.replace(b"prepared", b"steady"))
    with pytest.raises(BadCertificate):
        load_state(dump_state(initial_state(fresh())).replace(b'"format": 1', b'"format": 2'))


def files(names: AuthorityFiles = CACERTS, *, below: bool = True) -> dict[str, bytes]:
    root = authority("somebody's", key(), NOW, YEAR)
    private = key()
    signer = authority("intermediate", private, NOW, YEAR, root)
    if not below:
        return dict(zip(names, (root.pem, key_pem(root.key), b"", root.pem), strict=True)) | {names.certificate: root.pem}
    chain = as_pem((signer.certificate, root.certificate))
    return dict(zip(names, (signer.pem, key_pem(private), chain, root.pem), strict=True))


@pytest.mark.parametrize("names", [CACERTS, TLS_SECRET])
@pytest.mark.parametrize("below", [False, True])
def test_somebody_elses_authority_is_plugged_in(names: AuthorityFiles, *, below: bool) -> None:
    found = issuer_from_files(files(names, below=below), names)

    leaf, *chain = read_certificates(workload_certificate(found.signer, Identity("td", "a", "b"), key().public_key(), NOW, YEAR))
    assert len(chain) == int(below)
    (chain[0] if chain else leaf).verify_directly_issued_by(read_certificates(found.root)[0])


def test_files_that_do_not_belong_together_are_refused_by_name() -> None:
    whole, other = files(), files()
    for wrong, said in (
        ({CACERTS.key: other[CACERTS.key]}, "ca-key.pem is not the key of ca-cert.pem"),
        ({CACERTS.root: other[CACERTS.root]}, "the chain in cert-chain.pem does not lead from ca-cert.pem to root-cert.pem"),
        ({CACERTS.chain: b"", CACERTS.root: other[CACERTS.root]}, "the chain in cert-chain.pem"),
        ({CACERTS.key: b"no key"}, "ca-key.pem: expected a private key"),
        ({CACERTS.certificate: b""}, "ca-cert.pem: expected certificates"),
        ({CACERTS.root: b"no root"}, "root-cert.pem: expected certificates"),
    ):
        with pytest.raises(BadCertificate, match=said):
            issuer_from_files(whole | wrong)


def test_keys_are_not_shown() -> None:
    state = initial_state(fresh())
    assert "PRIVATE" not in repr(state)
    assert state.phase is Phase.STEADY
