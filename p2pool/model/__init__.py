"""The nouns of p2pool: identities, states, messages, limits, errors and the ports between layers.

This package has no behaviour. Every other package uses these words, so it imports none of them (and
no third party but attrs).
"""
