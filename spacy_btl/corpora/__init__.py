"""Annotated corpora: brat and JSON lines into `.spacy` files, splits by document, statistics."""
