"""From what proxies count to figures: rates, shares with how sure they are, and percentiles."""
