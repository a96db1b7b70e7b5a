"""The budgets of sizes and names: ``python -m tools.shape`` names what is over them, and exits 1 if anything is.

A number is there to make you think: a function cut in two without a better name for each half is worse than before. A name that stands
for two things makes a reader guess, and a query's name is what failures and counts are told by.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

MODULE_LINES = 300
FUNCTION_LINES = 40
FOLDER_MODULES = 12
PACKAGE = "controlplane"
FOLDERS = ("controlplane", "tests", "tools")
# What may be over a budget, with the reason.
EXCEPTIONS: dict[str, str] = {
    "controlplane/cli/demo.py:demo": "its parameters are the options of the command, a line each",
    "controlplane/cli/bootstrap.py:bootstrap": "its parameters are the options of the command, a line each",
    "controlplane/cli/iptables.py:iptables": "its parameters are the options of the command, a line each",
    "controlplane/cli/operator/config/config.py:config": "its parameters are the options of the command, a line each",
    "controlplane/cli/operator/explaining/authz.py:authz": "its parameters are the options of the command, a line each",
    "controlplane/cli/operator/explaining/explain.py:explain": "its parameters are the options of the command, a line each",
    "controlplane/cli/serve.py:serve": "its parameters are the options of the command, a line each",
    "controlplane/cli": "a module a command",
    "controlplane/inject": "a module a part of the pod",
    "controlplane/model": "the words of the mesh, which everybody shares: a module a word",
    "controlplane/xds": "one protocol",
}


def faults(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield what of the module ``text`` at ``path`` is over a budget: where, and by how much."""
    lines = text.count("\n")
    if lines > MODULE_LINES:
        yield str(path), f"{lines} lines; a module has at most {MODULE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.name}", f"{length} lines; a function has at most {FUNCTION_LINES}"
            if any(_names_any(part) for part in _annotations(node)):
                yield f"{path}:{node.name}", "Any in its signature; say what it takes and gives"


def full_folders(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the folders that have too many modules among ``paths``."""
    modules: dict[Path, int] = defaultdict(int)
    for path in paths:
        modules[path.parent] += path.stem != "__init__" and not path.stem.endswith("_pb2")
    for folder, count in sorted(modules.items()):
        if count > FOLDER_MODULES:
            yield str(folder), f"{count} modules; a folder has at most {FOLDER_MODULES}"


def shared_names(texts: Mapping[Path, str]) -> Iterator[tuple[str, str]]:
    """Yield the classes and queries, by path and text of their modules, whose name stands for another one too."""
    places: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path, text in texts.items():
        if path.stem.endswith("_pb2"):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                places["class", node.name].append(path)
            elif isinstance(node, ast.FunctionDef) and any(ast.unparse(each) == "query" for each in node.decorator_list):
                places["query", node.name].append(path)
    for (what, name), paths in sorted(places.items()):
        if len(paths) > 1:
            yield f"{what} {name}", f"stands in {', '.join(map(str, paths))}"


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    given = node.args
    for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if argument is not None and argument.annotation is not None:
            yield argument.annotation
    if node.returns is not None:
        yield node.returns


def _names_any(annotation: ast.expr) -> bool:
    return any(_is_any(part) for part in ast.walk(annotation))


def _is_any(part: ast.AST) -> bool:
    match part:
        case ast.Name(id="Any") | ast.Constant(value="Any") | ast.Attribute(value=ast.Name(id="typing"), attr="Any"):
            return True
        case _:
            return False


def main() -> int:
    """Check the whole repository."""
    texts = {path: path.read_text() for folder in FOLDERS for path in sorted(Path(folder).rglob("*.py"))}
    package = {path: text for path, text in texts.items() if path.parts[0] == PACKAGE}
    found = [fault for path, text in texts.items() for fault in faults(path, text)]
    found += [*full_folders(package), *shared_names(package)]
    over = [(where, what) for where, what in found if where not in EXCEPTIONS]
    for where, what in over:
        print(f"{where}: {what}")
    unused = EXCEPTIONS.keys() - {where for where, _ in found}
    for where in sorted(unused):
        print(f"{where}: is within its budget; remove its exception")
    return 1 if over or unused else 0


if __name__ == "__main__":
    sys.exit(main())
