"""Annotation formats: readers, recognised by what a file holds, and the conversion to `.spacy`."""
