"""What is wrong with drills in this mesh."""
