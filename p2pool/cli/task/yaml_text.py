"""YAML as the specification needs it: what JSON can say, and nothing that reads as something else.

Intuition: to YAML 1.1 `no` is false, `0777` is 511, `80:80` is 4880 and `2026-01-01` is a date.
Here a plain word is text unless it is written as YAML 1.2 writes a number, true, false or null.

Invariants: a key that stands twice is refused, and so are aliases, which can make a small text
endless, and tags.
"""

import re
from typing import Any, ClassVar

import yaml


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Takes the tags of JSON's values alone."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As YAML's, without aliases."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "an alias (*name) is not taken", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """An object whose keys are different texts."""
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is a text", key_node.start_mark
                )
            key = str(key_node.value)
            if key in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            found[key] = self.construct_object(value_node, deep=True)
        return found


_WORDS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"0|-?[1-9][0-9]*", list("-0123456789")),
    "float": (r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", list("-0123456789")),
}
"""By tag: what a plain word looks like that has it, and how it begins. The first one counts."""
for _tag, (_pattern, _first) in _WORDS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))


def read_yaml(text: str) -> Any:
    """The value in a text of one document. ValueError says where it is wrong."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
