"""Calibration and ensembling of predictions."""
