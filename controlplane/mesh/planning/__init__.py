"""What would be published if objects were others, without publishing any of it."""
