"""What several kinds say of access logs and traces: tags of spans, formats, and expressions in CEL."""
