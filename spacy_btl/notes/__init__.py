"""Notes in, and what a pipeline finds in them."""
