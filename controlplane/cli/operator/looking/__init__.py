"""Commands that look at what there is and at what has been: objects, their history, and all of it in one archive."""
