"""What is wrong between limits on requests and other objects."""
