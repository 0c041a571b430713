"""What a validator found, on its disk: an index of findings, and the documents of evidence."""
