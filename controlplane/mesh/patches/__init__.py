"""EnvoyFilters: which of their patches are for which proxies, and the resources that come of them."""
