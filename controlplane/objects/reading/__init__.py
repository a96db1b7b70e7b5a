"""Documents in and out: YAML and JSON under guard."""
