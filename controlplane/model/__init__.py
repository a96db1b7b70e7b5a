"""The mesh in our own words: frozen values that every room above understands, and nothing that waits."""
