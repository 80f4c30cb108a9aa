"""A crew whose slots are the workers of hubs."""
