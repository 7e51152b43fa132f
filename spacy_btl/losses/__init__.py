"""Losses over the tokens of a batch, on arrays only.

Every loss is a callable of one signature, `TokenLoss`, made by a registered factory.
"""
