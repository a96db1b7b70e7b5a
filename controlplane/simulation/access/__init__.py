"""Whether Envoy's own filters let a connection or a request in: by who has sent it, and what it asks for."""
