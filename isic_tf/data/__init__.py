"""Input: from record sets, image files and tables to batches."""
