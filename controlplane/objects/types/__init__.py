"""What all kinds share: scalars, metadata, selectors, names, findings and the words of validation errors."""
