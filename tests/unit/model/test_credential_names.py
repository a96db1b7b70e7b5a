"""The names of credentials in SDS."""

from __future__ import annotations

import pytest

from controlplane.model.credentials import Credential, authority_name, certificate_name, names_a_secret, parse_credential


@pytest.mark.parametrize(
    ("written", "certificate", "authority"),
    [
        ("shop", "kubernetes://shop", "kubernetes://shop-cacert"),
        ("shop-cacert", "kubernetes://shop-cacert", "kubernetes://shop-cacert"),
        ("edge/shop", "kubernetes-gateway://edge/shop", "kubernetes-gateway://edge/shop-cacert"),
        ("kubernetes-gateway://edge/shop", "kubernetes-gateway://edge/shop", "kubernetes-gateway://edge/shop-cacert"),
    ],
)
def test_what_is_written_has_istios_names(written: str, certificate: str, authority: str) -> None:
    assert (certificate_name(written), authority_name(written)) == (certificate, authority)


def test_a_name_means_a_secret_of_the_proxys_namespace_or_of_the_one_it_says() -> None:
    assert parse_credential("kubernetes://shop", "edge") == Credential("edge", "shop")
    assert parse_credential("kubernetes://shop-cacert", "edge") == Credential("edge", "shop", authority=True)
    assert parse_credential("kubernetes-gateway://other/shop", "edge") == Credential("other", "shop")


@pytest.mark.parametrize(
    "name", ["default", "ROOTCA", "kubernetes://", "kubernetes://a/b", "kubernetes://../a", "kubernetes-gateway://a", "kubernetes://A"]
)
def test_other_names_mean_no_credential(name: str) -> None:
    assert parse_credential(name, "edge") is None


@pytest.mark.parametrize(
    ("written", "can"),
    [
        ("shop", True),
        ("edge/shop", True),
        ("kubernetes://shop", True),
        ("Shop_1", False),
        ("a/b/c", False),
        ("/shop", False),
        ("sds://shop", False),
    ],
)
def test_what_can_name_no_secret_is_known_where_it_is_written(written: str, *, can: bool) -> None:
    assert names_a_secret(written) is can
