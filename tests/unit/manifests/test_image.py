"""The image is what the pods expect, and is made of nothing but locked wheels; building it needs a container engine and is not tested."""

from __future__ import annotations

import re

from tests.support.rendered_manifests import ROOT, at, pod, ports


def instructions(word: str, stage: str) -> list[str]:
    """Return the Dockerfile's instructions of kind ``word`` in ``stage``, joined to one line each, without the word."""
    lines = re.sub(r"\\\n\s*", "", stage).splitlines()
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]


def stages() -> tuple[str, ...]:
    """Return the Dockerfile's stages, without what comes before the first."""
    return tuple(re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:])


def test_the_image_is_run_by_the_user_whom_the_pods_name() -> None:
    user = at(pod("base"), "securityContext", "runAsUser")
    group = at(pod("base"), "securityContext", "runAsGroup")

    assert instructions("USER", stages()[-1]) == [f"{user}:{group}"]
    assert instructions("ENTRYPOINT", stages()[-1]) == ['["navarch"]']
    assert {int(port) for port in instructions("EXPOSE", stages()[-1])[0].split()} == set(ports("overlays/dev").values())


def test_the_image_is_made_of_locked_wheels_and_nothing_installs_in_it_later() -> None:
    built, bare, last = stages()

    [fetching, installing] = instructions("RUN", built)
    assert "--require-hashes" in fetching
    assert "--only-binary=:all:" in fetching
    assert "PIP_NO_INDEX=1" in installing
    assert "venv --without-pip" in installing
    assert "install -y --no-install-recommends iptables iproute2" in instructions("RUN", bare)[0]
    assert "pip uninstall" in instructions("RUN", bare)[1]
    assert last.startswith("scratch\n")
    assert instructions("RUN", last) == []


def test_the_image_names_its_base_by_version() -> None:
    named = re.findall(r"^ARG PYTHON=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert named == ["python:3.11-slim-bookworm"]
    assert {stage.split()[0] for stage in stages()} == {"${PYTHON}", "scratch"}


def test_what_the_image_is_made_of_is_sent_to_the_build_and_nothing_else() -> None:
    copied = {name for line in instructions("COPY", stages()[0]) for name in line.split()[:-1]}

    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == sent
    assert [name for name in copied if not (ROOT / name).exists()] == []
