"""How transcripts are read, played and compared."""
