"""Evaluation of a pipeline on held-out documents."""
