"""Links lead to files and headings; targets, modules, commands and options that are named exist."""

import re
from pathlib import Path

import pytest

from tests.docs import commands, markdown
from tests.docs.pages import ROOT

PAGES = markdown.pages()
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, flags=re.MULTILINE))
OPTIONS: dict[str, set[str]] = {
    name: {"--help", "-h"}.union(*(({*p.opts, *p.secondary_opts}) for p in command.params))
    for name, command in commands.commands().items()
}
page = pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))


def test_the_pages_are_found() -> None:
    names = {str(file.relative_to(ROOT)) for file in PAGES}
    assert {"README.md", "docs/COMMANDS.md", "tests/bench/README.md"} <= names
    assert any(name.endswith(".ipynb") for name in names)


SAMPLE = """# A `page` (of two)

See [here](#a-page-of-two), `make test lint` and `not [a](link)`.

    gemma4 chat --image photo.jpg   # a comment

```sh
make docs
# no heading
```

## Again
## Again
"""


def test_what_is_read_of_a_page() -> None:
    assert markdown.links(SAMPLE) == ["#a-page-of-two"]
    assert markdown.anchors(SAMPLE) == {"a-page-of-two", "again", "again-1"}
    assert set(markdown.code(SAMPLE)) == {
        "page",
        "make test lint",
        "not [a](link)",
        "gemma4 chat --image photo.jpg   # a comment",
        "make docs",
        "# no heading",
    }


@page
def test_links_lead_to_files_and_headings(file: Path) -> None:
    broken = []
    for link in markdown.links(PAGES[file]):
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        found = target.exists() and target.is_relative_to(ROOT)
        if not found or (anchor and anchor not in markdown.anchors(PAGES.get(target, ""))):
            broken.append(link)
    assert not broken


def test_targets_that_ci_runs_exist() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    named = set(re.findall(r"^\s*make ([a-z-]+)", script, flags=re.MULTILINE))
    assert {"test", "lint", "types", "wheel"} <= named <= TARGETS


@page
def test_modules_that_are_run_exist(file: Path) -> None:
    for line in markdown.code(PAGES[file]):
        for name in re.findall(r"python -m (tests[\w.]*)", line):
            place = ROOT / name.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name


@page
def test_commands_and_options_exist(file: Path) -> None:
    wrong = []
    for line in markdown.code(PAGES[file]):
        for rest in re.findall(r"(?:^|[\s/(])gemma4 ([a-z].*)", line):
            command, *words = re.split(r"\s+#|[|>;&]|\.\.\.", rest)[0].split()
            if command not in OPTIONS:
                wrong.append(line)
                continue
            given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            wrong += [f"{command} {option}" for option in given - OPTIONS[command]]
    assert not wrong


# Options of our own tools (tests.bench, tests.parity) that pages name by themselves.
FOREIGN = {"--families", "--only", "--small", "--folder", "--write"}


@page
def test_options_named_alone_exist_in_some_command(file: Path) -> None:
    if file.is_relative_to(ROOT / "notebooks/demo_model"):
        pytest.skip("the training recipe is a program of its own")
    known = set.union(*OPTIONS.values()) | FOREIGN | {"--version"}
    alone = {
        option
        for span in markdown.code(PAGES[file])
        if re.match(r"--[a-z]", span)
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", span)
    }
    assert alone <= known


def test_the_readme_shows_the_commands_people_need() -> None:
    shown = set(re.findall(r"gemma4 ([a-z]+)", PAGES[ROOT / "README.md"]))
    assert {"chat", "generate", "transcribe", "convert", "info"} <= shown & set(OPTIONS)
