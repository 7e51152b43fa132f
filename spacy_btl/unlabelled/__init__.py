"""Notes without annotation: continued pretraining of an encoder, and soft labels for training."""
