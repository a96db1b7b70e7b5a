"""How a service is reached: DestinationRules and clusters."""
