"""What every node does with a log it does not lead: fetch it, check it, obey its orders."""
