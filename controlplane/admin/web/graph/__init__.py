"""The mesh as a graph: who asks whom, as proxies report it."""
