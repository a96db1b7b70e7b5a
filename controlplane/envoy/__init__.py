"""Envoy's own terms: type URLs, deterministic encoding, JSON, and the constraints that its messages declare."""
