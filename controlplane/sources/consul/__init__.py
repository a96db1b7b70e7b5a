"""The source ``consul``: the services of a Consul catalog, with their health."""
