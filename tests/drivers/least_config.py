"""The least that a configuration says."""

ADDRESS = "0x" + "ab" * 20
GOOD = f"""
[chain]
id = 31337
endpoints = ["http://127.0.0.1:8545"]
[chain.addresses]
network = "{ADDRESS}"
pool = "{ADDRESS}"
registry = "{ADDRESS}"
stake = "{ADDRESS}"
domains = "{ADDRESS}"
token = "{ADDRESS}"
[pool]
id = 3
"""
