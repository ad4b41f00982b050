"""Prediction with trained folds."""
