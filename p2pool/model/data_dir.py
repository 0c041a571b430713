"""Files in an agent's data directory that other programs look for."""

API_URL_FILE = "api.url"
"""One line: the URL of the agent's API, `http://127.0.0.1:PORT`."""
API_TOKEN_FILE = "api.token"
"""One line: the bearer token of the API; mode 0600."""
NODE_KEY_FILE = "node.json"
"""The node's encrypted key, unless another file is named."""
