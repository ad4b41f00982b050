"""Augmentation policies, sampled and applied on the device."""
