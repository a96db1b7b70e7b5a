"""What objects name by URL: fetched under guard on behalf of users, and kept fresh. One mechanism for keys and for modules."""
