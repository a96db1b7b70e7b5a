"""How the control plane itself does: what becomes of each change as a trace, and how quickly the event loop turns."""
