"""Limits on requests: the filters that count them, and what the rate limit service is told to count."""
