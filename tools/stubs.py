"""Writes type stubs for the generated messages of ``xds-protos``, which has none: ``python -m tools.stubs FOLDER``.

Without them a type checker lets ``Cluster(nmae="x")`` pass. All messages are written, so that only another version of the package makes
the stubs old.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import files
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

_PACKAGE = "xds-protos"
_FOLDERS = ("envoy/", "google/rpc/", "udpa/", "validate/", "xds/")
_TYPED = "google/protobuf/"  # these have stubs already, by another distribution


def modules() -> list[str]:
    """Return the names of the generated modules that ``xds-protos`` installs, sorted."""
    paths = (path.as_posix() for path in files(_PACKAGE) or ())
    return sorted(path.removesuffix(".py").replace("/", ".") for path in paths if path.startswith(_FOLDERS) and path.endswith("_pb2.py"))


def descriptors(names: Iterable[str]) -> FileDescriptorSet:
    """Return the files of the generated modules ``names`` and all that they import, in the order of their dependencies."""
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in found:
            for dependency in file.dependencies:
                add(dependency)
            found[file.name] = file

    for name in names:
        add(importlib.import_module(name).DESCRIPTOR)
    described = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(described.file.add())
    return described


def write(folder: Path, names: Iterable[str]) -> int:
    """Write the stubs of the generated modules ``names``, and of what they import, below ``folder``; return how many there are."""
    found = descriptors(names)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [file.name for file in found.file if not file.name.startswith(_TYPED)]
    with tempfile.NamedTemporaryFile(suffix=".bin") as described:
        Path(described.name).write_bytes(found.SerializeToString())
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={described.name}", f"--pyi_out={folder}", *paths]
        subprocess.run(command, check=True)
    return len(paths)


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]), modules())} stubs in {sys.argv[1]}")
