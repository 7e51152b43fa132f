"""Experiments: ways of training, compared on the same folds."""
