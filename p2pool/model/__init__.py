"""The nouns of p2pool: identities, states, messages, limits, errors and the ports between layers.

Nothing here does anything. Every other package speaks in these words, so this one imports none of
them (and no third party but attrs).
"""
