"""The contents of the mesh: services, endpoints, workloads, the settings of the mesh and of its namespaces."""
