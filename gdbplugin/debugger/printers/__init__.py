"""Pretty printers. Being here is all it takes to be registered."""
