"""What tests of the chain share."""
