"""Names of files in an agent's data directory that others than the agent look for."""

API_URL_FILE = "api.url"
"""One line: where the agent's API listens, `http://127.0.0.1:PORT`."""
API_TOKEN_FILE = "api.token"
"""One line: the bearer token of the API; mode 0600."""
NODE_KEY_FILE = "node.json"
"""The encrypted key of the node, where none is named."""
