"""From queries to the tables that streams see: encoding, parts, and what is published."""
