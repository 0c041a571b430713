"""The words behind a command: plain ones, `name=value`, and lists with commas."""


def options(given: list[str]) -> tuple[list[str], dict[str, str]]:
    """Words, and those of the form `name=value`."""
    plain = [word for word in given if "=" not in word]
    named = dict(word.split("=", 1) for word in given if "=" in word)
    return plain, named


def names(text: str) -> list[str]:
    """The parts of `a,b,c`."""
    return [one for one in text.split(",") if one]
