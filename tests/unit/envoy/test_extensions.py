"""Which extensions a proxy's build lacks, by what its node says; and the table of those that we can send."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from envoy.config.core.v3.base_pb2 import Extension as NodeExtension
from envoy.config.core.v3.base_pb2 import Node

from controlplane.envoy.extensions import EXTENSIONS, lacking_extensions

GOLDEN = Path(__file__).parents[2] / "golden" / "translate"
FAULT, RBAC, TLS = "envoy.filters.http.fault", "envoy.filters.http.rbac", "envoy.transport_sockets.tls"


def stock(without: Iterable[str] = (), more: Iterable[NodeExtension] = ()) -> Node:
    names = (each.name for each in EXTENSIONS if each.name not in without)
    return Node(extensions=[*(NodeExtension(name=name) for name in names), *more])


def test_a_node_that_has_all_or_says_nothing_lacks_nothing() -> None:
    assert lacking_extensions(stock()) == lacking_extensions(Node()) == frozenset()


def test_a_stock_envoy_that_says_nothing_lacks_what_is_newer() -> None:
    versions = [{"version": {"major_number": 1, "minor_number": minor}} for minor in (36, 37, 38)]

    assert [sorted(lacking_extensions(Node(user_agent_build_version=each))) for each in versions] == [
        ["envoy.access_loggers.stats", "stat_tag_value_input"],
        ["stat_tag_value_input"],
        [],
    ]


def test_what_is_missing_or_switched_off_is_lacking() -> None:
    off = NodeExtension(name=TLS, category="envoy.transport_sockets.upstream", disabled=True)  # of which there are two

    assert lacking_extensions(stock([FAULT])) == {FAULT}
    assert lacking_extensions(stock(more=[off])) == {TLS}


def test_under_another_name_an_extension_is_known_by_its_message() -> None:
    renamed = NodeExtension(name="our.fault", type_urls=["envoy.extensions.filters.http.fault.v3.HTTPFault"])

    assert lacking_extensions(stock([FAULT], [renamed])) == frozenset()


def test_every_extension_in_what_is_sent_is_in_the_table() -> None:
    known = {message for extension in EXTENSIONS for message in extension.messages}

    sent = {
        name
        for path in GOLDEN.glob("*/out.yaml")
        for name in re.findall(r"'@type': type\.googleapis\.com/(envoy\.[\w.]+)", path.read_text())
    }

    assert len(sent) > 20
    assert sent - known == set()


def test_each_stands_there_once() -> None:
    names = [extension.name for extension in EXTENSIONS]

    assert names == sorted(set(names))


def test_what_decides_about_access_is_never_optional() -> None:
    decides = {each.name for each in EXTENSIONS if re.search(r"rbac|jwt_authn|ext_authz|tls|lua|wasm\.", each.name)}

    assert decides
    assert [each.name for each in EXTENSIONS if each.optional and each.name in decides] == []
