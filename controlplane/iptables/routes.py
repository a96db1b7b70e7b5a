"""What the rules need beside them: the way of marked packets to the proxy's sockets, and the address ``::6``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from controlplane.iptables.programs import CannotIntercept, run
from controlplane.iptables.settings import Capture, Family, InterceptionMode

_PROTOCOL = "133"  # says of rules and routes who made them
_FLAG = {Family.V4: "-4", Family.V6: "-6"}


@dataclass(frozen=True, slots=True)
class IpObject:
    """Something that ``ip`` adds and deletes: an object, and the words that say which."""

    family: Family
    kind: str
    words: tuple[str, ...]

    def command(self, verb: str) -> tuple[str, ...]:
        """Return the command that adds or deletes (``verb``) it."""
        return ("ip", _FLAG[self.family], self.kind, verb, *self.words)


def wanted_ip_objects(capture: Capture, family: Family) -> tuple[IpObject, ...]:
    """Return what ``capture`` needs for ``family``."""
    ip_objects = []
    if family is Family.V6:
        ip_objects.append(_PASSTHROUGH)
    if capture.mode is InterceptionMode.TPROXY:
        ip_objects += (_marked(family, hex(capture.mark), str(capture.table)), _local(family, str(capture.table)))
    return tuple(ip_objects)


def current_ip_objects(family: Family) -> tuple[IpObject, ...]:
    """Return what of this kind is there, and ours."""
    flag = _FLAG[family]
    ip_objects = []
    if family is Family.V6 and any(address.get("addr_info") for address in _ip_json("ip", flag, "addr", "show", "dev", "lo", "to", "::6")):
        ip_objects.append(_PASSTHROUGH)
    own_rules = (rule for rule in _ip_json("ip", flag, "rule", "show") if str(rule.get("protocol")) == _PROTOCOL)
    ip_objects += (_marked(family, str(rule.get("fwmark")), str(rule.get("table"))) for rule in own_rules)
    routes = _ip_json("ip", flag, "route", "show", "table", "all", "proto", _PROTOCOL)
    ip_objects += (_local(family, str(route.get("table"))) for route in routes)
    return tuple(ip_objects)


_PASSTHROUGH = IpObject(Family.V6, "addr", ("::6/128", "dev", "lo", "nodad"))  # 127.0.0.6 is there by itself


def _marked(family: Family, mark: str, table: str) -> IpObject:
    return IpObject(family, "rule", ("fwmark", mark, "lookup", table, "protocol", _PROTOCOL))


def _local(family: Family, table: str) -> IpObject:
    return IpObject(family, "route", ("local", "default", "dev", "lo", "table", table, "proto", _PROTOCOL))


def _ip_json(*words: str) -> list[dict[str, object]]:
    """Return what ``ip`` lists; a table that nobody has made holds nothing."""
    try:
        text = run((words[0], "-json", *words[1:]))
    except CannotIntercept as error:
        if "FIB table does not exist" in str(error):
            return []
        raise
    listed: list[dict[str, object]] = json.loads(text or "[]")
    return listed
