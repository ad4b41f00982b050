"""Evaluation of predictions: metrics, subgroups, audits, reports."""
