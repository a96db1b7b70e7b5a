"""What users write of Envoy's own messages, as JSON: read with paths of fields, merged, and checked as far as it goes."""
