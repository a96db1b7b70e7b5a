"""What is told of drills while they run."""
