"""What Envoy asks of a module before it loads one, and where objects say that modules are from."""

from __future__ import annotations

import pytest

from controlplane.objects.extensions.modules import ModuleSource, UnusableModule, module_source
from controlplane.objects.extensions.wasm_format import check_module
from controlplane.objects.extensions.wasm_plugin import Wasm
from tests.support.fakes.small_modules import small_module

GOOD = small_module(b"note")


@pytest.mark.parametrize("version", ["0_1_0", "0_2_0", "0_2_1"])
@pytest.mark.parametrize("allocate", ["malloc", "proxy_on_memory_allocate"])
def test_modules_of_each_version_pass(version: str, allocate: str) -> None:
    check_module(small_module(exports=(f"proxy_abi_version_{version}", allocate)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a module in WebAssembly, version 1"),
        (b"#!/bin/sh", "a module in WebAssembly, version 1"),
        (b"\0asm\x02\0\0\0", "a module in WebAssembly, version 1"),
        (b"\0asm\x01\0\0\0", "exports proxy_abi_version_"),
        (GOOD[:-1], "cut off or damaged"),
        (GOOD[:20], "cut off or damaged"),
        (b"\0asm\x01\0\0\0\x07\xff\xff\xff\xff\xff\xff", "cut off or damaged"),
        (b"\0asm\x01\0\0\0\x07\x04\x01\x02\xff\xfe", "cut off or damaged"),
        (small_module(exports=("proxy_abi_version_9_9_9", "malloc")), "found 9_9_9"),
        (small_module(exports=("proxy_abi_version_0_2_1",)), "malloc or proxy_on_memory_allocate"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_module_is_told(content: bytes, message: str) -> None:
    with pytest.raises(UnusableModule, match=message):
        check_module(content)


def _source(**fields: object) -> ModuleSource | None:
    return module_source(Wasm.model_validate(fields), "shop")


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("registry.example/a:1", ModuleSource("oci://registry.example/a:1")),
        ("oci://registry.example/a", ModuleSource("oci://registry.example/a", always=True)),
        ("OCI://registry.example/a:latest", ModuleSource("oci://registry.example/a:latest", always=True)),
        ("https://web.example/a.wasm", ModuleSource("https://web.example/a.wasm")),
        ("file:///etc/a.wasm", None),
        ("file:/etc/a.wasm", None),
    ],
)
def test_without_a_scheme_an_image_is_meant_and_latest_is_looked_up_again(url: str, source: ModuleSource | None) -> None:
    assert _source(url=url) == source


def test_a_secret_makes_another_source_for_images_alone() -> None:
    assert _source(url="a.example/a:1", imagePullSecret="one") == ModuleSource("oci://a.example/a:1", "", "shop", "one")
    assert _source(url="https://a.example/a", imagePullSecret="one") == ModuleSource("https://a.example/a")


def test_what_has_a_digest_never_changes_whatever_the_policy_says() -> None:
    pinned = [
        _source(url="a.example/a:latest", imagePullPolicy="IfNotPresent"),
        _source(url="a.example/a:1", sha256="0" * 64, imagePullPolicy="Always"),
        _source(url=f"a.example/a@sha256:{'0' * 64}", imagePullPolicy="Always"),
        _source(url="a.example/a:1"),
    ]
    moving = [_source(url="a.example/a"), _source(url="a.example/a:1", imagePullPolicy="Always")]

    assert [source.fixed for source in pinned if source] == [True] * 4
    assert [source.fixed for source in moving if source] == [False] * 2
