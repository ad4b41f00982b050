"""Files that commands exchange: run directories, prediction files, submissions, embeddings."""
