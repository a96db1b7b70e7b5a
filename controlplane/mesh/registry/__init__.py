"""What there is: services, endpoints, workloads, the settings of the mesh and of its namespaces."""
