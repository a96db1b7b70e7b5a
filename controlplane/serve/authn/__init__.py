"""Who a caller is: by a token, by a client certificate, or without either."""
