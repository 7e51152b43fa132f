"""Commands over trained pipelines: calibrating, choosing settings, averaging."""
