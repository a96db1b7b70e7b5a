"""What the types of security.istio.io cannot say."""
