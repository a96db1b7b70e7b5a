"""Plain values to YAML that every reader takes for the same: kubectl's, ours, and PyYAML's differ on what a plain scalar is."""

from __future__ import annotations

import re

import orjson
import yaml

# Plain is what no reader of YAML 1.1 or 1.2 takes for anything but a string.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*\Z")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_WIDTH = 1 << 20  # folded lines are harder to read than long ones


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with quotes around every string that might be taken for something else."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if "\n" in value and value.isascii() and "\r" not in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    style = None if _PLAIN.match(value) and value.lower() not in _WORDS else "'" if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(value: object) -> str:
    """Return ``value``, made of JSON's types, as a YAML document; keys stay in their order."""
    copied = orjson.loads(orjson.dumps(value))  # what stands twice would become an anchor and an alias
    return yaml.dump(copied, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
