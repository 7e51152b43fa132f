"""The two pipes, `btl_ner` and `knn_calibrator`, and what they write on a doc."""
