"""Containers as processes: in the network of their pod, with a root of their own over this machine's, their volumes, user and rights."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.untyped import Json, items, section, text
from tests.support.leftovers import MARK

REPOSITORY = Path(__file__).parents[2]
_PYTHON = [sys.executable, "-m"]
# What an image would start, by the beginning of its name.
ENTRYPOINTS = {
    "navarch": [*_PYTHON, "controlplane.cli.main"],
    "envoyproxy/envoy": ["envoy"],
    "app": [*_PYTHON, "tests.support.pod_app"],
}
_REFERENCE = re.compile(r"\$\$|\$\((\w+)\)")
# What is no part of the file system of "/" is not seen through it.
_SHARED = ("/proc", "/dev", "/sys", str(REPOSITORY), sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parents[1]))


@dataclass(frozen=True, slots=True)
class Image:
    """What a container is to run in: its pod's network namespace, and where its root, volumes, hosts file and log are."""

    sandbox: str
    folder: Path
    mounts: Mapping[str, Path]  # by the path within the container
    hosts: Path
    log: Path


class Container:
    """A container that was started."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    async def ended(self) -> int:
        """Wait for its end, and return its status."""
        return await self._process.wait()

    async def stop(self, patience_s: float) -> None:
        """Ask it to end; after ``patience_s``, end it."""
        if self.exit_code is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), max(0.0, patience_s))
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it, as a crash would."""
        if self.exit_code is None:
            os.killpg(self._process.pid, signal.SIGKILL)


def needed() -> None:
    """Skip the test where no such roots can be made."""
    layers = "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work"
    tried = f"mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root && mount -t overlay overlay -o {layers} /mnt/root"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", tried], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"not run: a container's root cannot be made here: {done.stderr.strip()}")


async def start(container: Json, environment: Mapping[str, str], image: Image, pod_security: Json) -> Container:
    """Start ``container`` with ``environment``, in ``image``."""
    command = ["nsenter", f"--net=/run/netns/{image.sandbox}", "unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    line = words(container, environment)
    script = _script(image, {**pod_security, **section(container, "securityContext")}, line)
    given = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        MARK: os.environ[MARK],
        **environment,
    }
    with image.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, script, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=given, start_new_session=True
        )
    return Container(text(container, "name"), process)


def words(container: Json, environment: Mapping[str, str]) -> list[str]:
    """Return what ``container`` runs, with ``$(NAME)`` as its ``environment`` has it."""
    name = text(container, "image")
    entrypoint = next((found for image, found in ENTRYPOINTS.items() if name.startswith(image)), None)
    command, arguments = ([expanded(str(each), environment) for each in _texts(container, key)] for key in ("command", "args"))
    assert command or entrypoint, f"nobody knows the image {name}"
    return [*(command or entrypoint or []), *arguments]


def expanded(value: str, environment: Mapping[str, str]) -> str:
    """Return ``value`` with its references: ``$(NAME)`` is the variable, if there is one, ``$$`` a dollar."""
    return _REFERENCE.sub(lambda found: "$" if found[0] == "$$" else environment.get(found[1], found[0]), value)


def _script(image: Image, security: Json, line: list[str]) -> str:
    root = "$D/root"
    steps = [
        f"D={shlex.quote(str(image.folder))}",
        "mount -t tmpfs tmpfs $D",
        f"mkdir $D/upper $D/work {root}",
        f"mount -t overlay overlay -o lowerdir=/,upperdir=$D/upper,workdir=$D/work {root}",
        f"mount -t tmpfs tmpfs {root}/run",  # also what /var/run is
    ]
    for path in dict.fromkeys(_SHARED):
        steps += (f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}")
    for path, source in image.mounts.items():  # which may lead through links, as /var/run does
        steps += (f"P={root}$(chroot {root} realpath -m {shlex.quote(path)})", "mkdir -p $P", f"mount --bind {shlex.quote(str(source))} $P")
    steps.append(f"mount --bind {shlex.quote(str(image.hosts))} {root}/etc/hosts")
    if security.get("readOnlyRootFilesystem"):
        steps.append(f"mount -o remount,bind,ro {root}")
    steps.append(f"exec chroot {root} setpriv {' '.join(_rights(security))} -- {shlex.join(line)}")
    return "\n".join(steps)


def _rights(security: Json) -> list[str]:
    uid, gid = security.get("runAsUser", 0), security.get("runAsGroup", security.get("runAsUser", 0))
    given = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    capabilities = section(security, "capabilities")
    if "ALL" in _texts(capabilities, "drop"):
        kept = ",".join(["-all", *(f"+{each.lower()}" for each in _texts(capabilities, "add"))])
        given += [f"--bounding-set={kept}", "--inh-caps=-all"]
    return given


def _texts(value: Json, key: str) -> list[str]:
    found = value.get(key)
    return [str(each) for each in found] if isinstance(found, list) else []


def environment(container: Json, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of ``container``; those by ``fieldRef`` have the values of ``fields``."""
    found: dict[str, str] = {}
    for each in items(container, "env"):
        path = text(section(section(each, "valueFrom"), "fieldRef"), "fieldPath")
        found[text(each, "name")] = fields.get(path, "") if path else expanded(str(each.get("value", "")), found)
    return found
