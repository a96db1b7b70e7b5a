"""What becomes of a connection: which listener takes it, which chain of filters handles it, and where it is sent whole."""
