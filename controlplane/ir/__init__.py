"""A proxy's configuration in our own values: what `mesh` makes of the objects, and all that `translate` reads."""
