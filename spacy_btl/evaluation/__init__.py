"""How good a pipeline is."""
