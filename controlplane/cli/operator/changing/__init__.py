"""Commands about changes: what one would do, and when one has come to everybody."""
