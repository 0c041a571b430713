"""What a stranger can check from signatures alone: certificates, and the committees they name."""
