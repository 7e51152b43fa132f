"""Labelled logits, and the search for the nearest of them. Arrays only."""
