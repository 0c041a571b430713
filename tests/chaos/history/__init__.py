"""What clients asked and were told, and the checks of it."""
