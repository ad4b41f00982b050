"""Exact metrics of predictions, with intervals over patients."""
