"""The calibrator: from labelled logits to probabilities, decisions and confidence. Arrays only."""
