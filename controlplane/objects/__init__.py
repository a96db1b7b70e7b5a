"""What users write: typed objects, how documents become them, and what is wrong with those that do not."""
