"""What is read of a node: little, however much it says."""

from __future__ import annotations

import pytest
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import ParseDict

from controlplane.model.proxies import MAX_REQUEST_HEADERS_KB, BadNode
from controlplane.serve.authn.authenticators import Caller
from controlplane.serve.xds.nodes import proxy_of

ID = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"


def node(**metadata: object) -> Node:
    return ParseDict({"id": ID, "metadata": metadata}, Node())


def test_what_says_nothing_of_the_proxy_is_passed_over() -> None:
    annotations = {MAX_REQUEST_HEADERS_KB: "96", **{f"note-{number}": "x" for number in range(10)}}

    proxy = proxy_of(node(LABELS={"app": "web"}, ANNOTATIONS=annotations, OTHER={"a": [1, 2]}), Caller(None))

    assert proxy.labels == (("app", "web"),)
    assert proxy.annotations == ((MAX_REQUEST_HEADERS_KB, "96"),)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ({"userAgentName": "envoy", "userAgentBuildVersion": {"version": {"majorNumber": 1, "minorNumber": 36, "patch": 4}}}, (1, 36, 4)),
        ({"userAgentName": "envoy", "userAgentBuildVersion": {"metadata": {"build.label": "dev"}}}, None),
        ({"userAgentName": "gRPC C-core", "userAgentVersion": "1.76.0"}, None),
        ({}, None),
    ],
    ids=["envoy", "without numbers", "grpc", "nothing"],
)
def test_its_version_is_what_its_build_says(said: dict[str, object], version: tuple[int, int, int] | None) -> None:
    assert proxy_of(ParseDict({"id": ID, **said}, Node()), Caller(None)).envoy == version


@pytest.mark.parametrize("labels", ["web", {"app": 1}, {str(number): "x" for number in range(1001)}], ids=["text", "a number", "many"])
def test_labels_that_are_none_are_told_of(labels: object) -> None:
    with pytest.raises(BadNode, match="metadata LABELS"):
        proxy_of(node(LABELS=labels), Caller(None))
