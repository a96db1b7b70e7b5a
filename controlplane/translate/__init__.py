"""Values of `ir` to Envoy messages: pure builders, named for what they return."""
