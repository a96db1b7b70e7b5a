"""What the types of networking.istio.io cannot say."""
