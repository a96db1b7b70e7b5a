"""What is asked, as people write it: texts of a command line or of HTTP, and manifests; and the traffic that is simulated for it."""
