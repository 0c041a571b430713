"""What the development chain needs and a machine may lack: fetched, checked, kept in a cache."""
