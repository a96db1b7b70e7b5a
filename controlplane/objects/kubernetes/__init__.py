"""Kubernetes' own kinds that a mesh reads."""
