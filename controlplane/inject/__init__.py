"""Sidecar injection: admission webhooks, the patch of a pod, its Envoy's bootstrap, its iptables rules. Empty until pods are injected."""
