"""What brings a pod's connections to its Envoy: the rules, how they are set, and the proof that they hold."""
