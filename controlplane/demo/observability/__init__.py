"""What the demo shows of what its mesh tells: traces, metrics, logs, and requests that are limited."""
