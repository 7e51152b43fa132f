"""Ways of training compared on the same folds: an experiment file, its cells, its results."""
