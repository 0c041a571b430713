"""Who may lead, and whose word raises a term."""
