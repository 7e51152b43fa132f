"""The nearest neighbours of logits: the interface of a search, and two of them."""
