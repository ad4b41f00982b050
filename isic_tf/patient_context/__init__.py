"""Models that see a lesion beside the patient's other lesions."""
