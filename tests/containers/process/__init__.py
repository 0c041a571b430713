"""What the process runtime alone promises."""
