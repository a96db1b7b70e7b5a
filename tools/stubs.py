"""Writes type stubs for the generated messages of ``xds-protos``, which has none: ``python -m tools.stubs FOLDER``.

Without them a type checker lets ``Cluster(nmae="x")`` pass. Only the messages that the code names are written, with all that they need.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

_ROOT = Path(__file__).parents[1]
_IMPORTED = re.compile(r"(?:from|import) ((?:envoy|xds|udpa|validate|google\.rpc)\.[\w.]*_pb2|(?:envoy|xds|udpa)(?:\.\w+)+|validate) import (\w+)")


def modules() -> list[str]:
    """Return the generated modules that the code of this repository imports, sorted."""
    found = set()
    for folder in ("controlplane", "tests", "tools"):
        for path in (_ROOT / folder).rglob("*.py"):
            for match in _IMPORTED.finditer(path.read_text()):
                found.add(match[1] if match[1].endswith("_pb2") else f"{match[1]}.{match[2]}")
    return sorted(name for name in found if name.endswith("_pb2"))


def descriptors(names: Iterable[str]) -> FileDescriptorSet:
    """Return the files of the generated modules ``names`` and all that they import, in the order of their dependencies."""
    files: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file

    for name in names:
        add(importlib.import_module(name).DESCRIPTOR)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return found


def write(folder: Path) -> int:
    """Write the stubs below ``folder`` and return how many files they are."""
    found = descriptors(modules())
    folder.mkdir(parents=True, exist_ok=True)
    names = [file.name for file in found.file if not file.name.startswith("google/protobuf/")]
    with tempfile.NamedTemporaryFile(suffix=".bin") as described:
        Path(described.name).write_bytes(found.SerializeToString())
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={described.name}", f"--pyi_out={folder}", *names]
        subprocess.run(command, check=True)
    return len(names)


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]))} stubs in {sys.argv[1]}")
