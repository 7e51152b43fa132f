"""Recall and precision that are promised for new notes, and held with a stated probability."""
