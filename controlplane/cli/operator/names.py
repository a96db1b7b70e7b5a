"""The names by which operators call proxies: the pod's, with its namespace or without, what the pod's begins with, or the whole node id."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from controlplane.cli.operator.failures import CommandFailed

_MOST_NAMED = 10


def short_name(proxy_id: str) -> str:
    """Return the name that operators use for ``proxy_id``: ``client.default`` for sidecar~10.0.0.1~client.default~…."""
    parts = proxy_id.split("~")
    return parts[2] if len(parts) > 2 and parts[2] else proxy_id


def proxy_type(proxy_id: str) -> str:
    """Return what ``proxy_id`` says that it is: sidecar, router, …."""
    return proxy_id.partition("~")[0] if "~" in proxy_id else ""


def proxy_namespace(proxy_id: str) -> str:
    """Return the namespace of ``proxy_id``, empty where it has none."""
    return short_name(proxy_id).rpartition(".")[2] if "~" in proxy_id else ""


def named_proxy(name: str, proxy_ids: Collection[str], namespace: str | None = None) -> str:
    """Return which of ``proxy_ids`` is called ``name``, among those in ``namespace`` where it is given; raises CommandFailed."""
    there = sorted(each for each in proxy_ids if namespace in {None, proxy_namespace(each)})
    for matches in (_is_called, _begins):
        found = [each for each in there if matches(each, name)]
        if len(found) == 1:
            return found[0]
        if found:
            distinct = {short_name(each) for each in found}
            shown = sorted(distinct if len(distinct) == len(found) else found)
            raise CommandFailed(f"{name!r} can be any of {_listed(shown)}: say which")
    raise CommandFailed(f"no proxy {name!r} is connected{_suggestion(name, [short_name(each) for each in there])}")


def _is_called(proxy_id: str, name: str) -> bool:
    short = short_name(proxy_id)
    return name in {proxy_id, short, short.rpartition(".")[0]}


def _begins(proxy_id: str, name: str) -> bool:
    """Return whether ``name`` is what the pod's name begins with: its Deployment, with the namespace or without."""
    pod, _, namespace = short_name(proxy_id).rpartition(".")
    start, dot, of_namespace = name.rpartition(".")
    return pod.startswith(f"{name}-") or (bool(dot) and of_namespace == namespace and pod.startswith(f"{start}-"))


def _suggestion(name: str, there: list[str]) -> str:
    if not there:
        return "; none is"
    close = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
    return f"; there is {_listed(close or there)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
