"""Measures of predictions: counts per document, scores, intervals and significance tests."""
