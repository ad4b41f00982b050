"""Leak-free folds, and audits of folds."""
