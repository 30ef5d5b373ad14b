"""Trains the starter models that look at pictures, on drawings of a small world. See training/README.md."""
