"""The incremental database: inputs are set, queries are asked, and only what a change touches runs again."""
