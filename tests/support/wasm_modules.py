"""Modules in WebAssembly for tests: in Rust where cargo is, built once and kept; else the text of a smaller one, where wat2wasm is."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.caches import cache_root

_SOURCES = Path(__file__).parents[2] / "examples" / "plugin"
_TARGET = "wasm32-wasip1"
_TEXT = Path(__file__).parent / "assets" / "header.wat"
_BARE = b"\0asm\x01\0\0\0"


@dataclass(frozen=True)
class BuiltModule:
    """A module; the one that was ``configurable`` does what its configuration says, the other sets its header to ``text``."""

    content: bytes
    configurable: bool

    @property
    def sha256(self) -> str:
        """Return its digest."""
        return hashlib.sha256(self.content).hexdigest()


@functools.cache
def rust_module() -> BuiltModule:
    """Return the module in Rust; skip the test where it cannot be built, and say why."""
    failure = _rust_failure()
    if failure:
        pytest.skip(f"not run: the module in Rust cannot be built: {failure}")
    return BuiltModule(_rust_path().read_bytes(), configurable=True)


@functools.cache
def any_module() -> BuiltModule:
    """Return the module in Rust, or the smaller one; skip the test where neither can be built, and say why."""
    failure = _rust_failure()
    if not failure:
        return rust_module()
    if shutil.which("wat2wasm") is None:
        pytest.skip(f"not run: no module: wat2wasm (Debian's wabt) is not there, and Rust's cannot be built: {failure}")
    made = subprocess.run(["wat2wasm", str(_TEXT), "--output=-"], capture_output=True, check=True)
    return BuiltModule(made.stdout, configurable=False)


def with_size(module: BuiltModule, size: int) -> bytes:
    """Return ``module`` with a section that nothing reads, so that it has ``size`` bytes."""
    left = size - len(module.content)
    name = b"\x07padding"
    payload = left - 1 - 5 - len(name)  # the section's id, and its length in five bytes
    return module.content + b"\0" + _long_number(len(name) + payload) + name + bytes(payload)


def bare_module() -> bytes:
    """Return a module that is right, and that no Envoy can load: it exports nothing."""
    return _BARE


def _long_number(value: int) -> bytes:
    """Return ``value`` as LEB128 in five bytes."""
    return bytes((value >> shift & 0x7F) | (0x80 if shift < 28 else 0) for shift in range(0, 35, 7))


def _rust_path() -> Path:
    sources = [_SOURCES / name for name in ("Cargo.lock", "Cargo.toml", "src/lib.rs")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    return cache_root() / f"wasm-{digest}" / "plugin.wasm"


@functools.cache
def _rust_failure() -> str:
    """Have the module built; return why it cannot be."""
    made = _rust_path()
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_file():
            return ""
        if shutil.which("cargo") is None:
            return "cargo is not there"
        if shutil.which("rustup") is not None:
            subprocess.run(["rustup", "target", "add", _TARGET], capture_output=True, check=False)
        sys.stderr.write("building a module in Rust: once\n")
        folder = made.parent / "target"
        command = [
            "cargo",
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--target",
            _TARGET,
            "--manifest-path",
            str(_SOURCES / "Cargo.toml"),
        ]
        ran = subprocess.run(command, env={**os.environ, "CARGO_TARGET_DIR": str(folder)}, capture_output=True, text=True, check=False)
        if ran.returncode:
            return ran.stderr.strip().rpartition("\n")[2] or f"status {ran.returncode}"
        (folder / _TARGET / "release" / "plugin.wasm").rename(made)
        shutil.rmtree(folder)
    return ""
