"""What is wrong between Telemetries, the providers that they name, and the workloads that they are for."""
