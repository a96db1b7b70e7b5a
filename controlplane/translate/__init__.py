"""Model values to Envoy messages: pure builders, named for what they return."""
