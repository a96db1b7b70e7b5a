"""What is wrong with workloads and their namespaces: proxies that are missing or passed by, and ports that Services share."""
