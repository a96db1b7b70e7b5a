"""Objects meant to stall or to bloat us: each costs little, and is refused or read."""

from __future__ import annotations

import time

import pytest

from controlplane.objects.parse import ParsedObject, parse
from controlplane.objects.reading.documents import documents
from controlplane.objects.types.regex import regex_error

SECONDS = 5.0  # for what takes well below one where nothing is quadratic, and hours where something is exponential
Json = dict[str, object]

EVIL = [
    *(
        "(a+)+$",
        "(a|a)*b",
        "(a|aa)+$",
        "(.*)*x",
        "(x+x+)+y",
        "([a-zA-Z]+)*$",
        "(a?){50}a{50}",
        "(a*)*" * 20,
        "((a{1,100}){1,100}){1,100}",
        "a{1,1000}" * 40,
    ),
    *(
        ".{1,1000}.{1,1000}",
        "(" * 500 + ")" * 500,
        "[" * 1000,
        "(?:" * 300,
        "\\",
        "a**",
        "*",
        "(?P<a>",
        "(?<=a)b",
        "(a)\\1",
        "\\p{Foo}",
        "[z-a]",
        "a{1001}",
    ),
    *("(?i)" + "ß" * 500, "\ud800", "x" * 1_000_000, "|" * 1000, "(a|b|c|d|e|f){1,100}" * 30, "[^\\x00-\\x{10FFFF}]", "\\C*"),
]


@pytest.mark.parametrize("pattern", EVIL, ids=range(len(EVIL)))
def test_no_pattern_costs_more_than_a_moment(pattern: str) -> None:
    began = time.process_time()

    regex_error(pattern)

    assert time.process_time() - began < 0.5  # 50 ms each on a quiet machine


@pytest.mark.parametrize("pattern", ["^/a/.*$", "(?i)abc", "[a-z]+\\d{1,3}", "a|b", "\\.", ""])
def test_ordinary_patterns_are_fine(pattern: str) -> None:
    assert regex_error(pattern) is None


def quick(kind: str, spec: object, api: str = "networking.istio.io/v1") -> ParsedObject:
    began = time.process_time()
    parsed = parse({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    assert time.process_time() - began < SECONDS
    return parsed


def test_very_many_hosts_and_namespaces() -> None:
    route = [{"route": [{"destination": {"host": "b"}}]}]
    hosts = [f"h{at}.example.com" for at in range(20_000)]

    assert quick("VirtualService", {"hosts": hosts, "http": route, "exportTo": [f"ns{at}" for at in range(20_000)]}).problems == ()
    [*shown, more] = quick("VirtualService", {"hosts": [*hosts, "*.example.com"], "http": route}).problems
    assert (len(shown), more.code) == (100, "More")
    assert "19900 more" in more.message


def test_very_many_routes_ports_and_localities() -> None:
    routes = [{"match": [{"uri": {"regex": f"/a{at}/.*"}}], "route": [{"destination": {"host": "b"}}]} for at in range(5_000)]
    distribute = [{"from": f"r{at}", "to": {"a": 100}} for at in range(10_000)]
    ports = [{"port": at % 65535 + 1, "name": f"p{at}"} for at in range(20_000)]

    assert quick("VirtualService", {"hosts": ["a"], "http": routes}).object is not None
    assert (
        quick("DestinationRule", {"host": "a", "trafficPolicy": {"loadBalancer": {"localityLbSetting": {"distribute": distribute}}}}).object
        is not None
    )
    assert quick("Service", {"ports": ports}, "v1").object is not None


def test_very_large_policies() -> None:
    blocks = [f"10.{at // 256}.{at % 256}.0/24" for at in range(20_000)]
    rule = {"from": [{"source": {"ipBlocks": blocks}}], "to": [{"operation": {"paths": ["/a/{*}" * 5_000, "{" * 100_000]}}]}
    env = [{"name": f"a{at}"} for at in range(256)]
    ports = [{"number": at % 65535 + 1} for at in range(65535)]
    keys = "0" * 100_000

    assert len(quick("AuthorizationPolicy", {"rules": [rule]}, "security.istio.io/v1").problems) == 1
    assert quick("AuthorizationPolicy", {"rules": [rule] * 513}, "security.istio.io/v1").object is None
    selector = {"matchLabels": {"a": "b"}}
    names = (*(f"{at:06}" for at in range(1, 65536)), keys, f"{keys}x")
    ports_of: dict[str, Json] = {name: {} for name in names}
    assert len(quick("PeerAuthentication", {"selector": selector, "portLevelMtls": ports_of}, "security.istio.io/v1").problems) == 2
    jwks = ("[" * 100_000, "1" * 100_000, '{"keys": [' + '{"kty": "RSA"},' * 50_000 + "1]}")
    rules = [{"issuer": "a", "jwks": each} for each in jwks]
    assert len(quick("RequestAuthentication", {"jwtRules": rules}, "security.istio.io/v1").problems) == 3
    plugin = {"url": "a" * 100_000, "match": [{"ports": ports}], "vmConfig": {"env": env}, "pluginConfig": {"a": blocks}}
    assert quick("WasmPlugin", plugin, "extensions.istio.io/v1alpha1").object is not None
    assert quick("WasmPlugin", {"url": "a@" * 50_000}, "extensions.istio.io/v1alpha1").object is None
    tags = {f"a{at}": {"operation": "REMOVE"} for at in range(50_000)}
    assert quick("Telemetry", {"metrics": [{"overrides": [{"tagOverrides": tags}]}]}, "telemetry.istio.io/v1").object is not None


@pytest.mark.parametrize(
    "text",
    [
        "# a licence\r\n" * 2000 + "kind: A\r\n",
        "%YAML 1.1\r\n" * 2000 + "kind: [\r\n",
        "metadata:" + "\n  a" * 2000 + "\nkind: [",
        " " * 100_000 + "x: [",
        "a: '" + "\n---x" * 20_000,
        "- " * 10_000,
        "? " * 10_000,
        "a: [1, " * 5_000,
        "---\n" * 50_000,
        "[b::" * 2_000,
        "{" + "".join(f'"{at}": 1, ' for at in range(100_000)) + '"a": 1, "a": 2}',
    ],
    ids=range(11),
)
def test_no_text_takes_long_to_read(text: str) -> None:
    began = time.process_time()

    documents(text)

    assert time.process_time() - began < SECONDS
