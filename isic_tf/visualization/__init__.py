"""Contact sheets and Grad-CAM maps."""
