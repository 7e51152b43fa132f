"""Commands over trained pipelines: calibrate, tune, average, combine."""
