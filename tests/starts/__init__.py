"""A hundred development pools, started one after the other: does every one come up?"""
