"""What operators ask a running control plane, over its admin API: a module a command, and what all of them share."""
