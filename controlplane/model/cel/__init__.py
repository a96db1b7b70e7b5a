"""Expressions in CEL: whether an Envoy can parse them. One that it cannot refuses the whole listener that the expression stands in."""
