"""What telemetry calls the parts of a mesh."""
