"""Formats of access logs: which an Envoy takes. With another it refuses the whole listener that the format stands in."""
