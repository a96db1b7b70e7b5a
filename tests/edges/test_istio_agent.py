"""What Istio's own agent (pilot-agent, in front of an Envoy) does with a control plane, by a client that makes the same calls.

https://github.com/istio/istio/tree/master/pkg/istio-agent: a certificate by a request of its own, then discovery on behalf of Envoy, with
types of its own among Envoy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse
from google.protobuf.json_format import ParseDict

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, NDS, PCDS, RDS, SDS
from controlplane.serve.istio_ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from tests.support.control_plane import ADS, DeltaMethod, SotwMethod
from tests.support.manifests import selecting, workload
from tests.support.secure_control_plane import Secure, secure
from tests.support.waiting import DEADLINE_S, at_most

HEALTH = "type.googleapis.com/istio.v1.HealthInformation"
OF_THE_AGENT = (NDS, PCDS, ECDS)
OPTIONS = (("grpc.ssl_target_name_override", "istiod.istio-system.svc"),)
WITHIN_S = 1.0

# As Istio 1.26 fills it in for a pod.
METADATA: dict[str, object] = {
    "ANNOTATIONS": {"kubernetes.io/config.source": "api", "prometheus.io/scrape": "true"},
    "APP_CONTAINERS": "cart",
    "CLUSTER_ID": "Kubernetes",
    "ENVOY_PROMETHEUS_PORT": 15090,
    "ENVOY_STATUS_PORT": 15021,
    "INSTANCE_IPS": "10.0.0.1,fe80::1",
    "INTERCEPTION_MODE": "REDIRECT",
    "ISTIO_PROXY_SHA": "f0ae2c9c2d0f7d1ac3b6a0f2a9c2a7a1d3c5d5f7",
    "ISTIO_VERSION": "1.26.0",
    "LABELS": {"app": "cart", "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": "cart"},
    "MESH_ID": "cluster.local",
    "NAME": "cart-1",
    "NAMESPACE": "shop",
    "NODE_NAME": "node-1",
    "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart",
    "PILOT_SAN": ["istiod.istio-system.svc"],
    "POD_PORTS": '[{"containerPort":80,"protocol":"TCP"}]',
    "PROXY_CONFIG": {"binaryPath": "/usr/local/bin/envoy", "concurrency": 2, "discoveryAddress": "istiod.istio-system.svc:15012"},
    "SERVICE_ACCOUNT": "cart",
    "WORKLOAD_NAME": "cart",
}
NODE = {"id": "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local", "cluster": "cart.shop", "metadata": METADATA}


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Secure]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "all.yaml").write_text("\n---\n".join((selecting("cart", "cart"), workload("cart-1", "cart", "10.0.0.1"))))
    async with secure(folder) as found:
        yield found


def request() -> tuple[bytes, str]:
    """Return an RSA key and a request for it, as the agent makes them: the subject empty, the identity it expects among the names."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/cart")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(name, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, csr.public_bytes(serialization.Encoding.PEM).decode()


def metadata(plane: Secure) -> tuple[tuple[str, str], ...]:
    return ("authorization", f"Bearer {plane.token('shop', 'cart')}"), ("clusterid", "Kubernetes")


async def certificate(plane: Secure) -> tuple[bytes, list[str]]:
    """Return the agent's key, and the chain that it is given for it."""
    assert plane.running.at.xds_tls
    key, csr = request()
    async with grpc.aio.secure_channel(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), OPTIONS) as channel:
        create: grpc.aio.UnaryUnaryMultiCallable[IstioCertificateRequest, IstioCertificateResponse] = channel.unary_unary(
            "/istio.v1.auth.IstioCertificateService/CreateCertificate",
            request_serializer=IstioCertificateRequest.SerializeToString,
            response_deserializer=IstioCertificateResponse.FromString,
        )
        asked = IstioCertificateRequest(csr=csr, validity_duration=86400)
        answer = await create(asked, metadata=metadata(plane), timeout=DEADLINE_S)
    return key, list(answer.cert_chain)


@contextlib.asynccontextmanager
async def channel(plane: Secure, by: str) -> AsyncIterator[tuple[grpc.aio.Channel, tuple[tuple[str, str], ...]]]:
    """Open a channel ``by`` token or by the certificate that the agent has been given."""
    if by == "token":
        address, credentials, more = plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), metadata(plane)
    else:
        key, chain = await certificate(plane)
        address, more = plane.running.at.xds_mtls, ()
        credentials = grpc.ssl_channel_credentials(plane.roots, key, "".join(chain[:-1]).encode())
    assert address
    async with grpc.aio.secure_channel(address, credentials, OPTIONS) as found:
        yield found, more


async def test_its_request_is_answered_with_the_leaf_first_and_the_root_last(plane: Secure) -> None:
    _, chain = await certificate(plane)

    leaf, root = (x509.load_pem_x509_certificate(each.encode()) for each in (chain[0], chain[-1]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/shop/sa/cart"]
    assert chain[-1].encode() == plane.roots
    assert root.subject == root.issuer


@pytest.mark.parametrize("by", ["token", "certificate"])
async def test_all_that_it_asks_by_delta_is_answered_within_a_second(plane: Secure, by: str) -> None:
    async with channel(plane, by) as (opened, more):
        method: DeltaMethod = opened.stream_stream(
            f"{ADS}/DeltaAggregatedResources",
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )
        call = method(metadata=more)
        found: dict[str, DeltaDiscoveryResponse] = {}
        names: dict[str, tuple[str, ...]] = {}
        first = True
        for type_url in (CDS, EDS, LDS, RDS, SDS, NDS, PCDS):  # of an extension that is not there nothing is said by Delta
            names[type_url] = wanted(type_url, found)
            asked = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names[type_url])
            if first:
                ParseDict(json.loads(json.dumps(NODE)), asked.node)
            first = False
            await call.write(asked)
            found[type_url] = await answered(call, type_url)
            await call.write(DeltaDiscoveryRequest(type_url=type_url, response_nonce=found[type_url].nonce))
        await call.write(DeltaDiscoveryRequest(type_url=HEALTH))  # of a machine: whether its application is well
        await call.write(DeltaDiscoveryRequest(type_url=EDS, resource_names_subscribe=["outbound|80||nothing"]))
        later = await answered(call, EDS)
        call.cancel()

    for type_url in (CDS, EDS, LDS, RDS, SDS):
        assert found[type_url].resources, type_url
    for type_url in (NDS, PCDS):
        assert (list(found[type_url].resources), list(found[type_url].removed_resources)) == ([], [])
    assert list(later.removed_resources) == ["outbound|80||nothing"]


async def answered(call: grpc.aio.StreamStreamCall[DeltaDiscoveryRequest, DeltaDiscoveryResponse], type_url: str) -> DeltaDiscoveryResponse:
    """Return the next response of ``type_url``, which comes within a second."""
    async with asyncio.timeout(at_most(WITHIN_S)):
        while True:
            response = await call.read()
            assert isinstance(response, DeltaDiscoveryResponse), (type_url, await call.code(), await call.details())
            if response.type_url == type_url:
                return response
            await call.write(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))


def wanted(type_url: str, found: dict[str, DeltaDiscoveryResponse]) -> tuple[str, ...]:
    """Return which names Envoy asks for after what was ``found``."""
    match type_url:
        case _ if type_url == EDS:
            return tuple(each.name for each in found[CDS].resources if each.name.startswith("outbound|80"))
        case _ if type_url == RDS:
            return ("80",)
        case _ if type_url == SDS:
            return ("default", "ROOTCA")
        case _ if type_url == ECDS:
            return ("some.filter",)
        case _:
            return ()


async def test_all_that_it_asks_by_the_older_protocol_is_answered_within_a_second(plane: Secure) -> None:
    async with channel(plane, "token") as (opened, more):
        method: SotwMethod = opened.stream_stream(
            f"{ADS}/StreamAggregatedResources",
            request_serializer=DiscoveryRequest.SerializeToString,
            response_deserializer=DiscoveryResponse.FromString,
        )
        call = method(metadata=more)
        asked = DiscoveryRequest(type_url=CDS)
        ParseDict(json.loads(json.dumps(NODE)), asked.node)
        await call.write(asked)
        seen: set[str] = set()
        for type_url in (NDS, PCDS):
            await call.write(DiscoveryRequest(type_url=type_url))
        async with asyncio.timeout(at_most(WITHIN_S)):
            while seen != {CDS, NDS, PCDS}:
                response = await call.read()
                assert isinstance(response, DiscoveryResponse)
                seen.add(response.type_url)
                await call.write(
                    DiscoveryRequest(type_url=response.type_url, version_info=response.version_info, response_nonce=response.nonce)
                )
        call.cancel()
