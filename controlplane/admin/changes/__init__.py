"""What changes: what has changed lately, and a stream that says what has changed just now."""
