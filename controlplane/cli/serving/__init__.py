"""Parts of `navarch serve`."""
