"""Programs that the development chain needs and a machine may lack: fetched, checked, cached."""
