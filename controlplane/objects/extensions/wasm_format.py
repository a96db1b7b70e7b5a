"""What Envoy asks of a module in WebAssembly before it loads one: looked at here first, as one that it cannot load it refuses.

https://webassembly.github.io/spec/core/binary/modules.html
https://github.com/proxy-wasm/spec/tree/main/abi-versions
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.extensions.modules import UnusableModule

_MAGIC = b"\0asm\x01\0\0\0"
_EXPORTS = 7
_ABI = "proxy_abi_version_"
_VERSIONS = ("0_1_0", "0_2_0", "0_2_1")
_ALLOCATORS = ("malloc", "proxy_on_memory_allocate")
_MOST_EXPORTS = 100_000


def check_module(content: bytes) -> None:
    """Pass ``content`` as a module that speaks a version of Proxy-Wasm that Envoy knows; raises UnusableModule."""
    if not content.startswith(_MAGIC):
        raise UnusableModule("expected a module in WebAssembly, version 1")
    try:
        names = set(_exports(content))
    except (IndexError, UnicodeDecodeError):
        raise UnusableModule("expected a module in WebAssembly, found one that is cut off or damaged") from None
    versions = [name.removeprefix(_ABI) for name in names if name.startswith(_ABI)]
    if not versions:
        raise UnusableModule("expected a module that exports proxy_abi_version_…, as the SDKs of Proxy-Wasm make them")
    if not set(versions) & set(_VERSIONS):
        raise UnusableModule(f"expected Proxy-Wasm {', '.join(_VERSIONS)}, found {versions[0][:20]}")
    if not names & set(_ALLOCATORS):
        raise UnusableModule("expected a module that exports malloc or proxy_on_memory_allocate")


def _exports(content: bytes) -> Iterator[str]:
    at = len(_MAGIC)
    while at < len(content):
        section = content[at]
        size, at = _number(content, at + 1)
        if at + size > len(content):
            raise IndexError
        if section == _EXPORTS:
            yield from _names(content, at)
        at += size


def _names(content: bytes, at: int) -> Iterator[str]:
    count, at = _number(content, at)
    for _ in range(min(count, _MOST_EXPORTS)):
        length, at = _number(content, at)
        yield content[at : at + length].decode()
        _, at = _number(content, at + length + 1)  # after the kind


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned LEB128 number of ``content`` that begins ``at``, and where it ends."""
    number = 0
    for shift in range(0, 35, 7):
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError
