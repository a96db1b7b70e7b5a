"""How a pod's connections come to its Envoy: rules of iptables, how they are set and taken away, and whether they hold."""
