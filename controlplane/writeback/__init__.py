"""What is written back to the API server: status, WorkloadEntries, root certificates."""
