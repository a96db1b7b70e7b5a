"""``navarch demo --drill``: one drill on the demo's mesh, from its steady state to what it teaches."""
