"""What is to be fetched for objects."""
