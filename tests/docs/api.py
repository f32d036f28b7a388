"""docs/API.md: every public name, its signature and the first paragraph of its docstring.

    python -m tests.docs.api

Signatures are taken from the source, so that they read as they were written, whatever the Python.
"""

import ast
import inspect
from types import ModuleType

import gemma4_mlx
from tests.docs.pages import ROOT, write

PAGE = ROOT / "docs/API.md"
TOP = """# The public names

What `gemma4_mlx.__all__` lists; everything else may change without notice. Written by `make docs`
from signatures and docstrings; `help(gemma4_mlx.load)` shows the whole docstring.
[README](../README.md#in-python) has them in use."""
# As people meet them, not by the alphabet.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Loading": ("load", "load_model"),
    "Generating": ("generate", "stream_generate", "batch_generate", "ChatSession"),
    "What a reply is made of": ("Chunk", "Reply", "Stats"),
    "Transcribing": ("transcribe", "transcribe_segments", "Transcript", "Segment"),
    "Errors": (
        "Gemma4Error",
        "CheckpointError",
        "InputError",
        "MediaError",
        "MemoryLimitError",
        "HubError",
        "MissingExtraError",
    ),
    "Version": ("__version__",),
}


def text() -> str:
    """The whole page."""
    parts = [TOP]
    for section, names in SECTIONS.items():
        parts.append(f"## {section}")
        for name in names:
            parts += _entry(name)
    return "\n\n".join(parts) + "\n"


def _entry(name: str) -> list[str]:
    thing = getattr(gemma4_mlx, name)
    if isinstance(thing, str):
        return [f"### {name}", "The version of this package, as `gemma4 --version` prints it."]
    node = definition(name)
    parts = [f"### {name}", f"```python\n{signature(node)}\n```", paragraph(thing)]
    if isinstance(node, ast.ClassDef):
        parts.append(
            "\n".join(f"- `{_bare(method)}`: {_said(method)}" for method in public_methods(node))
        )
    return [part for part in parts if part]


def definition(name: str) -> ast.FunctionDef | ast.ClassDef:
    """Where a public name is defined, as syntax."""
    home = inspect.getmodule(getattr(gemma4_mlx, name))
    assert isinstance(home, ModuleType)
    for node in ast.parse(inspect.getsource(home)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise AssertionError(f"{name} is not defined in {home.__name__}")


def public_methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    """The methods and properties of a class that callers use; a setter is its property's."""
    return [
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef)
        and not item.name.startswith("_")
        and not any("setter" in ast.unparse(decorator) for decorator in item.decorator_list)
    ]


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """As written, but one parameter a line where it would be long; of a dataclass its fields."""
    if isinstance(node, ast.FunctionDef):
        return _call(f"def {node.name}", node)
    base = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    begin = next((item for item in node.body if getattr(item, "name", "") == "__init__"), None)
    if isinstance(begin, ast.FunctionDef):
        return _call(f"class {node.name}", begin)
    fields = [f"    {ast.unparse(item)}" for item in node.body if isinstance(item, ast.AnnAssign)]
    return "\n".join([f"class {node.name}{base}" + (":" if fields else ""), *fields])


def _call(head: str, node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and head.startswith("def") else ""
    parts = [_spaced(part) for part in _split(arguments) if part != "self"]
    line = f"{head}({', '.join(parts)}){returns}"
    if len(line) > 90:
        line = f"{head}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"
    return line


def _spaced(part: str) -> str:
    """A parameter as the style guide has it; types that wait for their import without quotes."""
    name, colon, rest = part.partition(": ")
    hint, equals, default = rest.partition("=")
    spaced = f"{name}{colon}{hint.strip(chr(39))}" + (f" = {default}" if equals else "")
    return spaced.replace("'", '"')


def _split(arguments: str) -> list[str]:
    """At the commas that part parameters, not at those within brackets."""
    parts, depth, current = [], 0, ""
    for sign in arguments:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += sign
    return [*parts, current.strip()] if current.strip() else parts


def paragraph(thing: object) -> str:
    """The first paragraph of a docstring, in a line."""
    said = inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0]
    return " ".join(said.split()).replace("``", "`")


def _bare(method: ast.FunctionDef) -> str:
    if any(ast.unparse(decorator) == "property" for decorator in method.decorator_list):
        return method.name
    names = [part.partition(":")[0].partition("=")[0] for part in _split(ast.unparse(method.args))]
    return f"{method.name}({', '.join(name for name in names if name != 'self')})"


def _said(method: ast.FunctionDef) -> str:
    said = (ast.get_docstring(method) or "").split("\n\n")[0]
    return " ".join(said.split()).replace("``", "`")


if __name__ == "__main__":
    write(PAGE, text())
