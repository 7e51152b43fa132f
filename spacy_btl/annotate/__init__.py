"""Annotate files of notes of any size, in parts that survive a kill."""
