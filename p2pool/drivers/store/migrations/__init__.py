"""How a store that an earlier version wrote becomes one of this version: one module a step."""
