"""How the secrets of tasks get to the nodes that run them, without the core seeing one."""
