"""Pipelines for prediction alone: `btl compile`, and the encoder that it makes, which runs on
OpenVINO without torch and transformers."""
