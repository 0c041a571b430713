"""The validator: a process of its own that finds out whether nodes are what they claim, and acts.

`policy` decides, purely, what follows from what was found; `journal` keeps what was decided, so
that a restart neither loses nor doubles it; `execution` sends it.
"""
