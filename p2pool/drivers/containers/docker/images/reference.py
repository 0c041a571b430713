"""References of images in their normal form, by the rules of the distribution project. Pure.

Intuition: `busybox`, `docker.io/busybox:latest` and `index.docker.io/library/busybox` are one
image, and the engine treats them as one. Whoever compares what people wrote compares normal forms.

Invariants: the first part of a name is a registry if it has a dot, a colon or a capital, or is
`localhost`; else the registry is Docker Hub. What goes to the engine is whole, so no name is taken
for the beginning of a local image's id.
Source: github.com/distribution/reference, `ParseNormalizedNamed` and `splitDockerDomain`.
"""

import attrs

HUB, HUB_ALIASES, OFFICIAL, LATEST = (
    "docker.io",
    ("docker.io", "index.docker.io"),
    "library",
    "latest",
)


@attrs.frozen
class Reference:
    """`path`: the repository within its registry. `tag` and `digest` are "" where none is given;
    with both, the digest says which image is meant."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """The whole name without tag and digest, as the engine is asked for it."""
        return f"{self.registry}/{self.path}"

    @property
    def version(self) -> str:
        """What of the repository is meant: a digest, else a tag."""
        return self.digest or self.tag or LATEST

    @property
    def full(self) -> str:
        """The whole reference."""
        return f"{self.repository}{'@' if self.digest else ':'}{self.version}"

    def same_repository(self, other: "Reference") -> bool:
        """Whether both name one repository; hosts are compared in any case."""
        return (self.registry.lower(), self.path) == (other.registry.lower(), other.path)


def reference_of(image: str) -> Reference:
    """The normal form of an image's name."""
    name, _, digest = image.partition("@")
    registry, rest = split_registry(name)
    path, _, tag = rest.partition(":")
    if registry == HUB and "/" not in path:
        path = f"{OFFICIAL}/{path}"
    return Reference(registry, path, tag, digest)


def split_registry(name: str) -> tuple[str, str]:
    """The registry that a name begins with, else Docker Hub, and the rest."""
    first, slash, rest = name.partition("/")
    if not slash or not names_registry(first):
        return HUB, name
    return (HUB if first.lower() in HUB_ALIASES else first), rest


def names_registry(part: str) -> bool:
    """Whether the first part of a name, before a slash, is a registry."""
    return "." in part or ":" in part or part == "localhost" or part != part.lower()


def is_within(image: str, allowed: tuple[str, ...]) -> bool:
    """Whether an image comes from one of these registries, or of these parts of them."""
    found = reference_of(image)
    return any(
        found.registry.lower() == registry.lower()
        and any(f"{found.path}/".startswith(f"{part}/" if part else "") for part in parts)
        for registry, parts in map(_allowed, allowed)
    )


def _allowed(text: str) -> tuple[str, tuple[str, ...]]:
    """A registry and the beginnings of paths in it that an entry of an allow-list means."""
    name = text.rstrip("/")
    if "/" not in name:
        # A registry alone; else a name as one pulls it, such as busybox.
        alone = names_registry(name)
        registry = HUB if name.lower() in HUB_ALIASES else name
        return (registry, ("",)) if alone else (HUB, (f"{OFFICIAL}/{name}",))
    registry, path = split_registry(name)
    if registry == HUB and "/" not in path:
        # docker.io/busybox is an official image; docker.io/ours is all that an account has.
        return registry, (path, f"{OFFICIAL}/{path}")
    return registry, (path,)
