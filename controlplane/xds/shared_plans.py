"""Plans that are made once for all streams in the same state: what one client is sent, the next one in its place is sent too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from collections.abc import Set as AbstractSet

from controlplane.xds.channel_state import ChannelState
from controlplane.xds.client_resources import ClientResources
from controlplane.xds.ordering import Plan, Planner
from controlplane.xds.view import View

_FROM_NAMES = 8  # fewer are planned as quickly as they are looked up
_MOST_PLANS = 128  # the last ones: some 50 kB each where there are a thousand names


class SharedPlans:
    """The latest plans that bring resources, and nothing else, to channels on which nothing was refused and nothing is waited for."""

    def __init__(self, from_names: int = _FROM_NAMES) -> None:
        """Begin with none. Plans of fewer than ``from_names`` names are not kept."""
        self._from_names = from_names
        self._plans: OrderedDict[Hashable, tuple[ClientResources, Plan]] = OrderedDict()

    def plan(self, planner: Planner, channel: ChannelState, view: View, names: AbstractSet[str], *, keep: bool) -> Plan:
        """Return what ``planner``, of ``channel`` of a stream that sees ``view``, plans for ``names``."""
        if len(names) < self._from_names or not planner.sees_published_only:
            return planner.plan(names, keep=keep)
        asked = frozenset(names)
        forced = asked if channel.forced == asked else asked & channel.forced
        before = channel.client_resources
        key = (channel.type_url, view.state(channel.type_url), id(before), asked, forced)
        known = self._plans.get(key)
        if known is not None:
            self._plans.move_to_end(key)
            return known[1]
        plan = planner.plan(asked, keep=keep)
        if not (plan.remove or plan.wait or plan.stay):
            self._plans[key] = before, plan  # which keeps the id
            if len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        return plan
