"""Divide corpora by document or patient: stratified by type, copies of one text together."""
