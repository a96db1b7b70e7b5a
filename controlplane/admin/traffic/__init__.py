"""What becomes of traffic, of a change, and of what was applied: questions that are worked out for who asks."""
