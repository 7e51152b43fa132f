"""What the network is trained on. Arrays only: no Doc, no model.

Every loss here is a callable of one signature, `TokenLoss`, made by a registered factory.
"""
