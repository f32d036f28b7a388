"""The chat template: a checkpoint's own, or Google's newest, run in Jinja's sandbox.

Templates are programs that come with a download. They run in an immutable sandbox, see plain data
only, and may use what transformers' environment offers: trimmed blocks, break and continue,
``tojson``, ``raise_exception``, ``strftime_now``, the ``generation`` tag.

The two shipped templates are Google's of 2026-07-09 (Apache-2.0), byte for byte. They differ in
one place: without thinking the big models' prompt ends with an empty thought.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.json_files import read_json

_SHIPPED = {False: "small.jinja", True: "big.jinja"}  # by whether the model is a big one


class ChatTemplate:
    """A compiled template; ``source`` is its text, ``name`` the file it came from.

    ``special_tokens`` are names it may use (``bos_token`` …) and their spelling.
    """

    def __init__(self, source: str, name: str, special_tokens: Mapping[str, str]):
        self.source, self.name = source, name
        self.special_tokens = {"bos_token": "<bos>", "eos_token": "<eos>", **special_tokens}
        try:
            self._compiled = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"{name} is not a chat template that works: {error}") from None

    @classmethod
    def from_dir(cls, path: Path, big: bool) -> "ChatTemplate":
        """The template of the checkpoint at ``path``, else the shipped one for its size.

        Raises CheckpointError for a template that is damaged.
        """
        path = Path(path)
        tokenizer_config = _optional_json(path / "tokenizer_config.json")
        special_tokens = {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in tokenizer_config.items()
            if key.endswith("_token") and (isinstance(value, str) or _is_token(value))
        }
        file = path / "chat_template.jinja"
        if file.is_file():
            try:
                return cls(file.read_text(encoding="utf-8"), str(file), special_tokens)
            except (OSError, UnicodeDecodeError) as error:
                raise CheckpointError(f"{file} cannot be read: {error}") from None
        for name, holder in (
            ("tokenizer_config.json", tokenizer_config),
            ("chat_template.json", _optional_json(path / "chat_template.json")),
        ):
            source = _named_template(holder.get("chat_template"), str(path / name))
            if source:
                return cls(source, str(path / name), special_tokens)
        return cls.shipped(big, special_tokens)

    @classmethod
    def shipped(cls, big: bool, special_tokens: Mapping[str, str] | None = None) -> "ChatTemplate":
        """Google's newest template: for 26B and 31B when ``big``, else for E2B and E4B."""
        name = _SHIPPED[big]
        file = resources.files("gemma4_mlx.processing") / "templates" / name
        return cls(file.read_text(encoding="utf-8"), name, special_tokens or {})

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        enable_thinking: bool,
        add_generation_prompt: bool,
    ) -> str:
        """The prompt as text. InputError when the template refuses the messages."""
        try:
            return self._compiled.render(
                **self.special_tokens,
                messages=messages,
                tools=tools,
                documents=None,
                enable_thinking=enable_thinking,
                add_generation_prompt=add_generation_prompt,
            )
        except Exception as error:  # a template is foreign code: it may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{self.name} cannot render these messages: {reason}") from None

    @property
    def is_shipped(self) -> bool:
        """Whether it is the package's, taken because a checkpoint has none."""
        return self.name in _SHIPPED.values()


def has_template(path: Path) -> bool:
    """Whether the checkpoint at ``path`` has a chat template of its own, damaged or not."""
    try:
        return not ChatTemplate.from_dir(path, big=False).is_shipped
    except Exception:  # damaged, so there is one; whoever renders it tells about it
        return True


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}…{% endgeneration %}`` marks replies for training; here it only shows."""

    tags = {"generation"}  # noqa: RUF012 (the name and type are Jinja's)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes characters of HTML, which no model was trained on.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _optional_json(file: Path) -> dict[str, Any]:
    return read_json(file) if file.exists() else {}


def _is_token(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("content"), str)


def _named_template(value: Any, where: str) -> str | None:
    """A template given as text, or the one called "default" of a list of named ones."""
    if isinstance(value, list):
        named = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
        value = named.get("default")
    if value is not None and not isinstance(value, str):
        raise CheckpointError(f"{where}: chat_template is a {type(value).__name__}, expected text")
    return value
