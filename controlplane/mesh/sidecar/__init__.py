"""What a sidecar gets: outbound and inbound resources."""
