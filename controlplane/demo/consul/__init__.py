"""The demo's Consul: a server of its own, in which workloads are registered, and the step of the story that it is for."""
