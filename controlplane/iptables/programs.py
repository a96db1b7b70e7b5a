"""The programs ``iptables`` and ``ip``, as they are found: which back-end, and what it says when it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.errors import PlatformError
from controlplane.iptables.settings import Family

_SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where they are, though not everybody's PATH leads there
_PREFIX = {Family.V4: "iptables", Family.V6: "ip6tables"}
_LEGACY_TABLES = {Family.V4: Path("/proc/net/ip_tables_names"), Family.V6: Path("/proc/net/ip6_tables_names")}
_TIMEOUT_S = 30
_LOCKS = Path("/run")
_OWN_LOCK = {"XTABLES_LOCKFILE": str(Path("/dev") / "shm" / "xtables.lock")}  # for legacy where the root file system is read-only
_LOCK_WAIT_S = "5"  # another program may be at the rules


class CannotIntercept(PlatformError):
    """The machine does not let the rules be set."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One of the two ways into the kernel: ``nft``, ``legacy``, or whichever the plain program is."""

    kind: str = ""

    def name(self, family: Family, part: str = "") -> str:
        """Return the name of this back-end's program for ``family``: the plain one, or its ``part`` that lists or sets everything."""
        return "-".join(word for word in (_PREFIX[family], self.kind, part) if word)

    def save(self, family: Family) -> str:
        """Return the rules that stand, with their counters."""
        return run((self.name(family, "save"), "-c"))

    def restore(self, family: Family, text: str, *, whole: bool = False) -> None:
        """Change the rules as ``text`` says; with ``whole`` its tables are to be as it says, and hold nothing else."""
        flags = ("-c",) if whole else ("--noflush",)
        run((self.name(family, "restore"), *flags, "-w", _LOCK_WAIT_S), text)

    def has_rule(self, family: Family, table: str, chain: str, spec: str) -> bool:
        """Say whether there is such a rule in ``chain`` of ``table``."""
        words = [self.name(family), "-w", _LOCK_WAIT_S, "-t", table, "-C", chain, *spec.split()]
        return _completed(words, None).returncode == 0


def detect_backend() -> Backend:
    """Return the back-end that rules are in already, or else the first that works: rules in both are past understanding."""
    candidates = [Backend(kind) for kind in ("nft", "legacy", "") if is_installed(Backend(kind).name(Family.V4, "save"))]
    if not candidates:
        raise CannotIntercept("iptables is not installed here: no iptables-save is on the path; Debian has it in the package iptables")
    if _legacy_in_use():
        candidates.sort(key=lambda backend: backend.kind != "legacy")
    for backend in candidates[:-1]:
        if _completed([backend.name(Family.V4, "save"), "-t", "nat"], None).returncode == 0:
            return backend
    return candidates[-1]


def is_installed(program: str) -> bool:
    """Say whether ``program`` is there."""
    return _path(program) is not None


def run(words: Sequence[str], stdin: str | None = None) -> str:
    """Return what the program ``words`` prints when it gets ``stdin``; raises CannotIntercept with what it says where it fails."""
    completed = _completed(words, stdin)
    if completed.returncode:
        stderr = " ".join(completed.stderr.split()) or f"status {completed.returncode}"
        hint = "" if os.geteuid() == 0 else "; that needs root, or the capabilities NET_ADMIN and NET_RAW"
        raise CannotIntercept(f"{' '.join(words)}: {stderr}{hint}")
    return completed.stdout


def _completed(words: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
    program = _path(words[0])
    if program is None:
        package = "iproute2" if words[0] == "ip" else "iptables"
        raise CannotIntercept(f"{words[0]} is not installed here; Debian has it in the package {package}")
    try:
        return subprocess.run(  # noqa: S603 - the words are ours, and what users gave of them was checked
            [program, *words[1:]],
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            env=os.environ | _OWN_LOCK if not os.access(_LOCKS, os.W_OK) else None,
        )
    except subprocess.TimeoutExpired:
        raise CannotIntercept(f"{' '.join(words)}: no answer within {_TIMEOUT_S} s") from None


def _path(program: str) -> str | None:
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM)))


def _legacy_in_use() -> bool:
    """Say whether this network namespace has tables of the legacy kind: asking the legacy program would make them."""
    return any(path.is_file() and os.access(path, os.R_OK) and path.read_text().strip() for path in _LEGACY_TABLES.values())
