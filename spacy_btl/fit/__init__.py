"""From annotated notes to a measured, calibrated and packaged pipeline: `btl fit`."""
