"""Export to SavedModel and TensorFlow Lite."""
