"""Builds and indexes record sets."""
