"""What a VirtualService says though no request and no connection ever comes to it."""
