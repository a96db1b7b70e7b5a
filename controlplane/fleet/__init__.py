"""What each proxy was sent, accepted and refused: folded from the events of its streams, nothing asked of anybody."""
