"""The passwords of registries, as Secrets have them. They are in no message, and in nothing that is shown.

https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controlplane.errors import UserError
from controlplane.objects.kubernetes.secrets import DOCKER_CONFIG, DOCKER_CONFIG_JSON
from controlplane.sources.modules.images import ImageName
from controlplane.untyped import section


class NoPullSecret(UserError):
    """A Secret has no password that can be used; the text says what was expected, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """The ``header`` by which a registry, or who gives tokens for it, is told who asks."""

    header: str = field(repr=False)


def registry_login(entries: Mapping[str, bytes], image: ImageName) -> RegistryLogin:
    """Return what ``entries`` of a Secret have for the registry of ``image``; raises NoPullSecret."""
    content = entries.get(DOCKER_CONFIG_JSON, entries.get(DOCKER_CONFIG))
    if content is None:
        raise NoPullSecret(f"expected an entry {DOCKER_CONFIG_JSON}: a Secret of the type kubernetes.io/dockerconfigjson")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise NoPullSecret(f"expected JSON as the entry {DOCKER_CONFIG_JSON}") from None
    if not isinstance(document, dict):
        raise NoPullSecret(f"expected a JSON object as the entry {DOCKER_CONFIG_JSON}")
    logins = section(document, "auths") if DOCKER_CONFIG_JSON in entries else document
    fitting = [name for name in _longest_first(logins) if _is_for(name, image)]
    for name in fitting:
        if login := _login(section(logins, name)):
            return login
    raise NoPullSecret(f"expected a password for {image.registry}, by which the Secret is looked through")


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (-len(name), name))


def _is_for(name: str, image: ImageName) -> bool:
    host, _, path = name.partition("://")[2].partition("/") if "://" in name else name.partition("/")
    path = path.strip("/")
    hosts = {image.registry, image.host, *(("index.docker.io",) if image.registry == "docker.io" else ())}
    return host.lower() in hosts and (path in ("", "v1", "v2") or f"{image.path}/".startswith(f"{path}/"))


def _login(login: Mapping[str, object]) -> RegistryLogin | None:
    user, password, encoded = login.get("username"), login.get("password"), login.get("auth")
    if isinstance(encoded, str) and encoded:
        try:
            plain = base64.b64decode(encoded, validate=True).strip(b"\0\n")
        except (binascii.Error, ValueError):
            return None
    elif isinstance(user, str) and isinstance(password, str):
        plain = f"{user}:{password}".encode()
    else:
        return None
    return RegistryLogin(f"Basic {base64.b64encode(plain).decode()}") if b":" in plain else None
