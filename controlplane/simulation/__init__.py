"""Where Envoy would send a connection or a request by given resources, and why."""
