"""Certificates: who issues them, what they say, and how keys are kept from being seen. What is in ``certificates`` is pure."""
