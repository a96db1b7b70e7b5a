"""Pods with an Envoy put in, as pure functions."""
