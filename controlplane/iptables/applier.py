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


def dry_run(capture: Capture, address_families: tuple[Family, ...]) -> str:
    """Return what :func:`apply` does where nothing of ours is there yet, as commands that a shell takes too."""
    parts = []
    for family in address_families:
        parts.append(f"{Backend().name(family, 'restore')} --noflush <<EOF\n{restore_input('', iptables_rules(capture, family))}EOF\n")
        parts += (f"{' '.join(ip_object.command('add'))}\n" for ip_object in wanted_ip_objects(capture, family))
    return "".join(parts)


def apply(capture: Capture, address_families: tuple[Family, ...]) -> None:
    """Set the rules of ``capture`` for ``address_families`` and remove all others of ours; where that fails, everything is as it was."""
    _set_all({family: (iptables_rules(capture, family), wanted_ip_objects(capture, family)) for family in address_families})


def clean_up() -> None:
    """Remove everything of ours."""
    _set_all({})


def _set_all(wanted: dict[Family, tuple[tuple[IptablesRule, ...], tuple[IpObject, ...]]]) -> None:
    backend = detect_backend()
    with ExitStack() as undo:
        for family in Family:
            if family is Family.V6 and family not in wanted and not _is_supported(backend, family):
                continue
            wanted_rules, ip_objects = wanted.get(family, ((), ()))
            _set_rules(backend, family, wanted_rules, undo)
            _set_ip_objects(family, ip_objects, undo)
        undo.pop_all()


def _is_supported(backend: Backend, family: Family) -> bool:
    try:
        backend.save(family)
    except CannotIntercept:
        return False  # this machine has no such rules, so none of ours either
    return True


def _set_rules(backend: Backend, family: Family, rules: Iterable[IptablesRule], undo: ExitStack) -> None:
    saved = backend.save(family)
    if text := restore_input(saved, rules):
        undo.callback(_restore, backend, family, saved)
        backend.restore(family, text)


def _restore(backend: Backend, family: Family, saved: str) -> None:
    """Have the rules be as they were ``saved``; in a table that was not there, nothing of ours."""
    if text := restore_input(backend.save(family), ()):
        backend.restore(family, text)
    backend.restore(family, saved, whole=True)


def _set_ip_objects(family: Family, wanted: tuple[IpObject, ...], undo: ExitStack) -> None:
    if not wanted and not is_installed("ip"):
        return  # then it has made nothing either
    current = current_ip_objects(family)
    for ip_object in current:
        if ip_object not in wanted:
            _run_with_undo(ip_object, ("del", "add"), undo)
    for ip_object in wanted:
        if ip_object not in current:
            _run_with_undo(ip_object, ("add", "del"), undo)


def _run_with_undo(ip_object: IpObject, verbs: tuple[str, str], undo: ExitStack) -> None:
    verb, opposite = verbs
    run(ip_object.command(verb))
    undo.callback(run, ip_object.command(opposite))
