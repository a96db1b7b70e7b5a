"""Pages of the admin API: their rows, their bodies, and how they are answered."""
