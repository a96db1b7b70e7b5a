"""The admission webhooks: validation of mesh objects and injection into pods, their HTTPS and their registration."""
