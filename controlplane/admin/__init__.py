"""What people and their tools ask the control plane: HTTP and JSON, read only."""
