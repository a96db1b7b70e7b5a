"""``navarch proxies``: which proxies are connected, and whether they have what they were sent."""
