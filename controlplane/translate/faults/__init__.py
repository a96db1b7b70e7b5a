"""What runs in the places of drills' faults: filters of Envoy's own."""
