"""Files: tables, TFRecords, indexes and manifests, local or in a bucket."""
