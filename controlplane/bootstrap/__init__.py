"""An Envoy's bootstrap configuration, as pure functions."""
