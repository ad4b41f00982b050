"""Verifies record sets."""
