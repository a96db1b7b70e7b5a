"""Modules in WebAssembly that say that they are for Proxy-Wasm, and do nothing."""

from __future__ import annotations

_HEAD = b"\0asm\x01\0\0\0"


def small_module(note: bytes = b"", *, exports: tuple[str, ...] = ("proxy_abi_version_0_2_1", "proxy_on_memory_allocate")) -> bytes:
    """Return a module with ``exports``, and a section with ``note`` that nothing reads."""
    named = b"".join(_text(name.encode()) + b"\0\0" for name in exports)
    return _HEAD + _section(7, number(len(exports)) + named) + _section(0, _text(b"note") + note)


def loadable_module() -> bytes:
    """Return a module that an Envoy loads, and that does nothing."""
    signatures = (b"\x60\0\0", b"\x60\1\x7f\1\x7f", b"\x60\2\x7f\x7f\0", b"\x60\2\x7f\x7f\1\x7f")
    functions = {
        "proxy_abi_version_0_2_1": (0, b"\0\x0b"),
        "proxy_on_memory_allocate": (1, b"\0\x41\x80\x08\x0b"),  # at 1024
        "proxy_on_context_create": (2, b"\0\x0b"),
        "proxy_on_vm_start": (3, b"\0\x41\1\x0b"),
        "proxy_on_configure": (3, b"\0\x41\1\x0b"),
    }
    exports = [_text(b"memory") + b"\2\0"] + [_text(name.encode()) + b"\0" + number(index) for index, name in enumerate(functions)]
    bodies = [_text(body) for _, body in functions.values()]
    return _HEAD + b"".join(
        (
            _section(1, number(len(signatures)) + b"".join(signatures)),
            _section(3, number(len(functions)) + bytes(kind for kind, _ in functions.values())),
            _section(5, b"\1\0\1"),
            _section(7, number(len(exports)) + b"".join(exports)),
            _section(10, number(len(bodies)) + b"".join(bodies)),
        )
    )


def number(value: int) -> bytes:
    """Return ``value`` as LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _section(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + number(len(content)) + content


def _text(content: bytes) -> bytes:
    return number(len(content)) + content
