"""What proxies tell of what they do: which Telemetries hold for them, and the access logs, traces and metrics that come of these."""
