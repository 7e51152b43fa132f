"""Notes that are unlike those of the source: whether they are, and confidence for them."""
