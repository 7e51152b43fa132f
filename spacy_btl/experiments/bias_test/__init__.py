"""What a loss learns from labels that say nothing."""
