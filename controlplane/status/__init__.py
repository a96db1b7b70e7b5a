"""What became of each object, written back to Kubernetes: conditions of its status, and Events."""
