"""What is measured of predictions: per document, as figures, with intervals and tests."""
