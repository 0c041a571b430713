"""Which addresses of peers are kept, announced and dialled."""
