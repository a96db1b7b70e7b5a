"""Values of our own, made of what DestinationRules, Gateways, policies and WorkloadGroups say."""

from __future__ import annotations

import pytest

from controlplane.fleet.health_checks import health_check
from controlplane.ir.access import AccessAttribute, AccessTerm, FilterMetadata, NamedAttribute, RequestHeader, TokenClaim
from controlplane.ir.actions import AddressHash, CookieHash, HeaderHash
from controlplane.ir.clusters import NO_POLICY, Algorithm, ClusterPolicy, ConsistentHash, MaglevTable, OriginalDestination, Ping, RingTable
from controlplane.ir.health_checks import GrpcCheck, HealthCheck, HttpCheck, TcpCheck
from controlplane.ir.tls import (
    AuthorityFile,
    CertificateFiles,
    ClientCheck,
    MeshIdentity,
    MeshTls,
    OriginatedTls,
    Peer,
    PlainUpstream,
    SecretRef,
    SystemRoots,
    Termination,
)
from controlplane.mesh.access.istio_access import access_policy
from controlplane.mesh.access.istio_server_tls import needs_identity, termination
from controlplane.mesh.destinations.istio_cluster_policy import cluster_policy
from controlplane.objects.networking.destination_rule import TrafficPolicy
from controlplane.objects.networking.sidecar import ServerTLSSettings
from controlplane.objects.networking.workload_group import ReadinessProbe
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.translate.clusters.health_checks import specifier

Json = dict[str, object]
EVERYBODY = Peer(within=("spiffe://cluster.local/",))


def policy_of(written: Json) -> ClusterPolicy:
    return cluster_policy(TrafficPolicy.model_validate(written))


def test_a_policy_that_says_nothing_is_none() -> None:
    assert policy_of({}) == NO_POLICY
    assert policy_of({"connectionPool": {"tcp": {}, "http": {"http2KeepAlive": {"timeout": "1s"}}}}) == NO_POLICY


def test_a_ping_waits_as_long_as_it_pauses_unless_something_is_said() -> None:
    assert policy_of({"connectionPool": {"http": {"http2KeepAlive": {"interval": "5s"}}}}).pool.ping == Ping(5000, 5000)


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        ({"simple": "PASSTHROUGH"}, OriginalDestination()),
        ({"simple": "LEAST_CONN"}, Algorithm.LEAST_REQUEST),
        ({}, None),
        ({"consistentHash": {}}, None),
        ({"consistentHash": {"maglev": {"tableSize": 7}}}, None),
        ({"consistentHash": {"useSourceIp": False}}, None),
        ({"consistentHash": {"useSourceIp": True}}, ConsistentHash(AddressHash())),
        ({"consistentHash": {"httpHeaderName": "x", "maglev": {"tableSize": 7}}}, ConsistentHash(HeaderHash("x"), MaglevTable(7))),
        (
            {"consistentHash": {"httpCookie": {"name": "c", "ttl": "0s"}, "minimumRingSize": 9}},
            ConsistentHash(CookieHash("c", ttl_ms=0), RingTable(9)),
        ),
    ],
)
def test_how_an_endpoint_is_chosen_is_one_thing(balancer: Json, expected: object) -> None:
    assert policy_of({"loadBalancer": balancer}).load_balancing == expected


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({"mode": "DISABLE"}, PlainUpstream()),
        ({"mode": "ISTIO_MUTUAL", "sni": "s"}, MeshTls(server_name="s")),
        ({"mode": "SIMPLE", "caCrl": "/crl"}, OriginatedTls(authority=SystemRoots(), revoked="/crl")),
        ({"mode": "SIMPLE", "insecureSkipVerify": True, "subjectAltNames": ["a"]}, OriginatedTls()),
        (
            {"mode": "MUTUAL", "clientCertificate": "/c", "privateKey": "/k", "caCertificates": "/ca"},
            OriginatedTls(certificate=CertificateFiles("/c", "/k"), authority=AuthorityFile("/ca")),
        ),
        (
            {"mode": "MUTUAL", "credentialName": "x"},
            OriginatedTls(certificate=SecretRef("kubernetes://x"), authority=SecretRef("kubernetes://x-cacert")),
        ),
    ],
)
def test_tls_to_a_service_is_plain_or_the_meshs_or_the_servers(tls: Json, expected: object) -> None:
    assert policy_of({"tls": tls}).tls == expected


def settings(written: Json) -> ServerTLSSettings:
    return ServerTLSSettings.model_validate(written)


@pytest.mark.parametrize(
    ("tls", "identity", "expected"),
    [
        (
            {"mode": "ISTIO_MUTUAL"},
            True,
            Termination(certificates=(MeshIdentity(),), clients=ClientCheck(authority=MeshIdentity(), peer=EVERYBODY)),
        ),
        ({"mode": "SIMPLE", "credentialName": "x"}, True, Termination(certificates=(SecretRef("kubernetes://x"),))),
        (
            {"mode": "OPTIONAL_MUTUAL", "serverCertificate": "/c", "privateKey": "/k", "caCertificates": "/ca", "insecureSkipVerify": True},
            False,
            Termination(
                certificates=(CertificateFiles("/c", "/k"),),
                clients=ClientCheck(authority=AuthorityFile("/ca"), required=False, trusted=False),
            ),
        ),
    ],
)
def test_tls_of_a_gateway_says_what_is_shown_and_what_is_asked_for(tls: Json, identity: bool, expected: Termination) -> None:  # noqa: FBT001
    assert termination(settings(tls), EVERYBODY) == expected
    assert needs_identity(settings(tls)) is identity


@pytest.mark.parametrize(
    ("key", "attribute"),
    [
        ("source.principal", NamedAttribute.PRINCIPAL),
        ("request.headers[x-a]", RequestHeader("x-a")),
        ("request.auth.claims[a][b.c]", TokenClaim(("a", "b.c"))),
        ("request.auth.audiences", TokenClaim(("aud",))),
        ("experimental.envoy.filters.network.mysql_proxy[db.t]", FilterMetadata("envoy.filters.network.mysql_proxy", ("db.t",))),
    ],
)
def test_the_key_of_a_condition_names_an_attribute(key: str, attribute: AccessAttribute) -> None:
    spec = {"rules": [{"when": [{"key": key, "values": ["v"]}]}]}
    value = AuthorizationPolicy.model_validate({"kind": "AuthorizationPolicy", "metadata": {"name": "p"}, "spec": spec})

    [rule] = access_policy(value).rules

    assert rule.when == (AccessTerm(attribute, ("v",)),)


def test_what_is_asked_for_by_unknown_fields_is_not_understood() -> None:
    spec = {"rules": [{"from": [{"source": {"principal": ["x"]}}]}, {"from": [{"source": {"principals": ["x"]}}]}]}
    value = AuthorizationPolicy.model_validate({"kind": "AuthorizationPolicy", "metadata": {"name": "p"}, "spec": spec})

    mistyped, right = access_policy(value).rules

    assert (mistyped.understood, mistyped.sources) == (False, ((),))
    assert (right.understood, right.sources) == (True, ((AccessTerm(NamedAttribute.PRINCIPAL, ("x",)),),))


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (
            {
                "httpGet": {
                    "port": 80,
                    "host": "h",
                    "scheme": "HTTPS",
                    "httpHeaders": [{"name": "Host", "value": "v"}, {"name": "a", "value": "1"}],
                }
            },
            HealthCheck(method=HttpCheck(port=80, host="v", headers=(("a", "1"),), tls=True)),
        ),
        ({"tcpSocket": {"port": 1}, "periodSeconds": 3}, HealthCheck(method=TcpCheck(1), interval_ms=3000)),
        ({"grpc": {"port": 2, "service": "s"}, "failureThreshold": 5}, HealthCheck(method=GrpcCheck(2, "s"), unhealthy_after=5)),
        ({"exec": {"command": ["true"]}}, None),
    ],
)
def test_a_probe_has_the_kubelets_defaults(probe: Json, expected: HealthCheck | None) -> None:
    assert health_check(ReadinessProbe.model_validate(probe)) == expected


def test_an_envoy_is_told_where_to_check_and_how() -> None:
    [told] = specifier(HealthCheck(method=TcpCheck(7, "10.0.0.1"), timeout_ms=2000)).cluster_health_checks

    [check], [place] = told.health_checks, told.locality_endpoints
    address = place.endpoints[0].address.socket_address
    assert (address.address, address.port_value) == ("10.0.0.1", 7)
    assert (check.timeout.seconds, check.WhichOneof("health_checker")) == (2, "tcp_health_check")
    assert not specifier(None).cluster_health_checks
