"""Names of files in an agent's data directory that programs other than the agent look for."""

API_URL_FILE = "api.url"
"""One line: where the agent's API listens, `http://127.0.0.1:PORT`."""
API_TOKEN_FILE = "api.token"
"""One line: the bearer token of the API; mode 0600."""
