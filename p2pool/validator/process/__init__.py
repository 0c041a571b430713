"""The validator's process: whom it challenges when, and what it does about what it finds."""
