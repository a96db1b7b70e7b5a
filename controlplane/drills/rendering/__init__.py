"""Reports for people: in a terminal, as Markdown, as a page."""
