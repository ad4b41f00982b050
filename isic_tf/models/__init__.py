"""The classifier: backbones, pooling, heads."""
