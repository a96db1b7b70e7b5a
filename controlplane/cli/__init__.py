"""The operator's shell: one module a command. The only reader of flags and environment."""
