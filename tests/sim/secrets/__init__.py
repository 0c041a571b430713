"""Tasks with secrets in a simulated pool of whole nodes, with real keys."""
