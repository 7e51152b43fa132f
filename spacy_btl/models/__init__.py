"""Registered architectures: the token-logits head, and the encoder that reads long notes."""
