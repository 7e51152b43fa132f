"""Mentions in the forms in which annotation tools take them, to be corrected."""
