"""Commands about limits on requests."""
