"""``navarch config``: what a proxy has, as tables, each row with the object that it comes from."""
