"""What proxies report: load (LRS) and the health of the application beside them (HDS)."""
