"""What types cannot say about an object: one module a kind, each a function from the object to its findings."""
