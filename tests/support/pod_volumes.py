"""The files of a pod, as a kubelet keeps them: all of a volume change at once, by one link that is renamed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from controlplane.untyped import Json, items, section, text

_versions = count(1)


def write(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Have ``folder`` hold ``files``, as the kubelet's AtomicWriter does it, and say whether it had others: watchers see a rename."""
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.exists() and {path.name: path.read_bytes() for path in current.iterdir()} == dict(files):
        return False
    fresh = folder / f"..{next(_versions)}"
    fresh.mkdir()
    for name, content in files.items():
        (fresh / name).write_bytes(content)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    old = current.resolve() if current.exists() else None
    pointer = folder / "..data_tmp"
    pointer.symlink_to(fresh.name)
    pointer.rename(current)
    if old is not None:
        shutil.rmtree(old)
    return True


class Sources:
    """Where the content of volumes comes from, for one pod."""

    def __init__(
        self, pod: Callable[[], Json], values: Callable[[str], str], configuration: Callable[[str, str], Json], token: Callable[[Json], str]
    ) -> None:
        """Read the ``pod``; ``values`` of its fields, objects by kind and name, and fresh tokens are asked for."""
        self._pod = pod
        self._values = values
        self._configuration = configuration
        self._token = token
        self._tokens: dict[str, str] = {}

    def files(self, volume: Json) -> dict[str, bytes] | None:
        """Return the files of ``volume``; ``None`` where it only has to be there."""
        if projected := section(volume, "projected"):
            found: dict[str, bytes] = {}
            for source in items(projected, "sources"):
                found |= self._one(source)
            return found
        return self._one(volume) if "configMap" in volume or "downwardAPI" in volume else None

    def forget_tokens(self) -> None:
        """Have new tokens next time."""
        self._tokens.clear()

    def _one(self, source: Json) -> dict[str, bytes]:
        if named := section(source, "configMap"):
            data = section(self._configuration("configmaps", text(named, "name")), "data")
            return {name: str(value).encode() for name, value in data.items()}
        if fields := section(source, "downwardAPI"):
            paths = {text(each, "path"): text(section(each, "fieldRef"), "fieldPath") for each in items(fields, "items")}
            return {name: self._values(path).encode() for name, path in paths.items()}
        wanted = section(source, "serviceAccountToken")
        path = text(wanted, "path")
        if path not in self._tokens:
            self._tokens[path] = self._token(wanted)
        return {path: self._tokens[path].encode()}
