"""What is wrong between a VirtualService and what it leaves requests to, or asks of who serves it."""
