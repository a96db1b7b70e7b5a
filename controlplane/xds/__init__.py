"""The xDS protocol without I/O: resources, views, subscriptions, and one machine for each of the two protocols."""
