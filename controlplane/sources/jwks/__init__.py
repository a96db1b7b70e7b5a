"""The keys of token issuers, from where objects say that they are published."""
