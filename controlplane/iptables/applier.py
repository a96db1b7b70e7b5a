"""Sets the rules in this network namespace: all or nothing, as often as one likes, and away again."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from controlplane.iptables.programs import Backend, CannotIntercept, detect_backend, is_installed, run
from controlplane.iptables.restore_format import restore_input
from controlplane.iptables.routes import IpObject, current_ip_objects, wanted_ip_objects
from controlplane.iptables.rules import IptablesRule, iptables_rules
from controlplane.iptables.settings import Capture, Family

_ADDRESSES_V6 = Path("/proc/net/if_inet6")


def families(*, v6: bool | None) -> tuple[Family, ...]:
    """Return the families to set rules for; ``None``: IPv6 too where an interface beside the loopback has an address of it."""
    if v6 is None:
        lines = _ADDRESSES_V6.read_text().splitlines() if _ADDRESSES_V6.exists() else []
        v6 = any(line.split()[-1] != "lo" for line in lines)
    return (Family.V4, Family.V6) if v6 else (Family.V4,)


def dry_run(wanted: Capture, found: tuple[Family, ...]) -> str:
    """Return what :func:`apply` does where nothing of ours is there yet, in words that a shell takes too."""
    parts = []
    for family in found:
        parts.append(f"{Backend().name(family, 'restore')} --noflush <<EOF\n{restore_input('', iptables_rules(wanted, family))}EOF\n")
        parts += (f"{' '.join(entry.command('add'))}\n" for entry in wanted_ip_objects(wanted, family))
    return "".join(parts)


def apply(wanted: Capture, found: tuple[Family, ...]) -> None:
    """Have the rules of ``wanted`` for the families ``found``, and nothing of ours else; where that fails, everything is as it was."""
    _become({family: (iptables_rules(wanted, family), wanted_ip_objects(wanted, family)) for family in found})


def clean_up() -> None:
    """Take away everything of ours."""
    _become({})


def _become(wanted: dict[Family, tuple[tuple[IptablesRule, ...], tuple[IpObject, ...]]]) -> None:
    backend = detect_backend()
    with ExitStack() as undo:
        for family in Family:
            if family is Family.V6 and family not in wanted and not _has(backend, family):
                continue
            specs, entries = wanted.get(family, ((), ()))
            _set_rules(backend, family, specs, undo)
            _set_entries(family, entries, undo)
        undo.pop_all()


def _has(backend: Backend, family: Family) -> bool:
    try:
        backend.save(family)
    except CannotIntercept:
        return False  # this machine has no such rules, so none of ours either
    return True


def _set_rules(backend: Backend, family: Family, wanted: Iterable[IptablesRule], undo: ExitStack) -> None:
    before = backend.save(family)
    if text := restore_input(before, wanted):
        undo.callback(_put_back, backend, family, before)
        backend.restore(family, text)


def _put_back(backend: Backend, family: Family, before: str) -> None:
    """Have the rules be as they were ``before``; in a table that was not there, nothing of ours."""
    if text := restore_input(backend.save(family), ()):
        backend.restore(family, text)
    backend.restore(family, before, whole=True)


def _set_entries(family: Family, wanted: tuple[IpObject, ...], undo: ExitStack) -> None:
    if not wanted and not is_installed("ip"):
        return  # then it has made nothing either
    standing = current_ip_objects(family)
    for entry in standing:
        if entry not in wanted:
            _take(entry, ("del", "add"), undo)
    for entry in wanted:
        if entry not in standing:
            _take(entry, ("add", "del"), undo)


def _take(entry: IpObject, verbs: tuple[str, str], undo: ExitStack) -> None:
    verb, opposite = verbs
    run(entry.command(verb))
    undo.callback(run, entry.command(opposite))
