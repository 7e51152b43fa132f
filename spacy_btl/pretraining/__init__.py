"""Continued pretraining of an encoder on notes without annotation."""
