"""The bias test: losses trained on random labels."""
