"""Navarch: a service-mesh control plane that speaks xDS to stock Envoy."""
