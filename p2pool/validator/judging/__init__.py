"""Whether submitted work is what it says: judges as plug-ins, and what they concluded, kept on disk."""
