"""What ``iptables-save`` prints, read; and what ``iptables-restore`` has to be told to change just our part of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from controlplane.iptables.rules import CHAIN_PREFIX, COMMENT, IptablesRule

_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
_RULE = re.compile(r"(?:\[\d+:\d+\] )?-A (\S+) ?(.*)")
_LEADS_TO_US = re.compile(rf"-[jg] {CHAIN_PREFIX}\w+")
_HAS_OUR_COMMENT = re.compile(rf'--comment "?{COMMENT}"?(?: |$)')


@dataclass(slots=True)
class IptablesTable:
    """One table as it stands: its chains with their policies, and each chain's rules in order."""

    policies: dict[str, str] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)

    @property
    def our_chains(self) -> list[str]:
        """Return the names of our chains."""
        return [chain for chain in self.policies if _is_ours(chain)]

    def our_positions(self, chain: str) -> list[int]:
        """Return where in ``chain``, which is not ours, our rules stand, counted from 1."""
        return [position for position, spec in enumerate(self.rules.get(chain, ()), 1) if _is_our_rule(spec)]


def parse_tables(text: str) -> dict[str, IptablesTable]:
    """Return the tables that ``text`` of ``iptables-save`` describes, by name."""
    tables: dict[str, IptablesTable] = {}
    table = IptablesTable()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), IptablesTable())
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            table.policies[chain] = policy
        elif match := _RULE.fullmatch(line.strip()):
            table.rules.setdefault(match[1], []).append(match[2])
    return tables


def normalized_rules(text: str) -> tuple[str, ...]:
    """Return what ``text`` of ``iptables-save`` says, but for counters and for empty chains of the kernel's own."""
    lines: list[str] = []
    for name, table in sorted(parse_tables(text).items()):
        for chain, policy in table.policies.items():
            if chain not in _BUILT_IN or policy != "ACCEPT":
                lines.append(f"{name} {chain} {policy}")
        lines += (f"{name} {chain} {spec}" for chain, specs in table.rules.items() for spec in specs)
    return tuple(lines)


def restore_input(saved: str, wanted: Iterable[IptablesRule]) -> str:
    """Return what makes ``saved``, of ``iptables-save``, the same with ``wanted`` as all our rules; nothing, where nothing is to be done.

    In the kernel's chains our new rules stand where our old ones stood, or else at the end: what others put around them stays there.
    """
    tables = parse_tables(saved)
    lines: list[str] = []
    by_table: dict[str, list[IptablesRule]] = {}
    for rule in wanted:
        by_table.setdefault(rule.table, []).append(rule)
    for name in dict.fromkeys((*tables, *by_table)):
        changed = list(_table_changes(tables.get(name, IptablesTable()), by_table.get(name, [])))
        if changed:
            lines += (f"*{name}", *changed, "COMMIT")
    return "".join(f"{line}\n" for line in lines)


def _table_changes(table: IptablesTable, rules: list[IptablesRule]) -> Iterator[str]:
    chains = dict.fromkeys(rule.chain for rule in rules if _is_ours(rule.chain))
    yield from (f":{chain} - [0:0]" for chain in chains)  # an old chain of that name is emptied
    foreign = {chain: positions for chain in table.rules if not _is_ours(chain) and (positions := table.our_positions(chain))}
    for chain, positions in foreign.items():
        yield from (f"-D {chain} {position}" for position in reversed(positions))
    stale = [chain for chain in table.our_chains if chain not in chains]
    yield from (f"-F {chain}" for chain in stale)
    yield from (f"-X {chain}" for chain in stale)
    free = {chain: positions[0] for chain, positions in foreign.items()}
    for rule in rules:
        if rule.chain in free:
            yield f"-I {rule.chain} {free[rule.chain]} {rule.spec}"
            free[rule.chain] += 1
        else:
            yield f"-A {rule.chain} {rule.spec}"


def _is_ours(chain: str) -> bool:
    return chain.startswith(CHAIN_PREFIX)


def _is_our_rule(spec: str) -> bool:
    return bool(_LEADS_TO_US.search(spec) or _HAS_OUR_COMMENT.search(spec))
