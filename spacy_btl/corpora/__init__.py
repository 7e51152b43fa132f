"""Annotated notes of any format into gold, `.spacy` files, patients and statistics."""
