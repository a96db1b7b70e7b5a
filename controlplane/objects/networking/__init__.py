"""The kinds of networking.istio.io."""
