"""Models that travel: Hugging Face checkpoints in and out."""
