"""The operator's pages at the admin address: HTML made here of what the API shows; its scripts only refresh what works without them."""
