"""CustomResourceDefinitions, made from the models that read the objects: what the API server takes is what we can read."""
