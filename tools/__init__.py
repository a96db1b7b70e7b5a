"""Tools of the developers: type stubs of Envoy's messages, and the size budgets."""
