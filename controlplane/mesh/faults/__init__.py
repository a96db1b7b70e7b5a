"""The faults of drills: an overlay on what proxies get otherwise, of which nothing is left when they are gone."""
