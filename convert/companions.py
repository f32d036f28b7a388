"""What goes along with the weights: tokenizer, chat template, processor and generation files.

They are copied byte for byte, but for faults that checkpoints in circulation have. Each of these
is mended and told in a sentence; what counts as one is decided where the package reads the file,
and ``gemma4 verify`` tells of it by the same rules:

* ends of a reply that config.json or generation_config.json does not name; without
  ``<|tool_response>`` among them a model goes on and makes up the answer of a tool it called,
* a processor_config.json that is missing or lacks what a tower of the model needs; without its
  ``feature_extractor`` some readers ignore recordings in silence,
* a chat template that Google has replaced since or made for models of the other size, or none at
  all with a chat model.

Ids are looked up in the checkpoint's own tokenizer. A base model has no chat template and ends a
text with ``<eos>`` alone; it stays one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from gemma4_convert.writing import as_json
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.generation_config import (
    TURN_END,
    GenerationConfig,
    is_chat_model,
    missing_ends,
)
from gemma4_mlx.json_files import read_json
from gemma4_mlx.processing.chat_revisions import NEWEST, newest, revision_of, size_of
from gemma4_mlx.processing.chat_template import has_template
from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS, lacking_blocks
from gemma4_mlx.processing.tokenizer import Tokenizer

TEMPLATE = "chat_template.jinja"
TEMPLATE_HOLDERS = ("tokenizer_config.json", "chat_template.json")
GENERATION = "generation_config.json"
PROCESSOR = "processor_config.json"
TOKENIZER = "tokenizer.json"

COPIED = (
    TEMPLATE,
    "chat_template.json",
    GENERATION,
    "preprocessor_config.json",
    PROCESSOR,
    "special_tokens_map.json",
    TOKENIZER,
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class Companions:
    """The ``files`` by name, and a sentence for everything in ``mended``.

    ``eos_token_ids`` is what config.json must say; None leaves it as it is.
    """

    files: Mapping[str, bytes]
    mended: tuple[str, ...]
    eos_token_ids: tuple[int, ...] | None

    def config(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A parsed config.json with the ends of a reply that it must name."""
        if self.eos_token_ids is None:
            return dict(raw)
        return {**raw, "eos_token_id": list(self.eos_token_ids)}


def companions(source: Path, config: Gemma4Config) -> Companions:
    """Everything but weights and config.json that belongs to the checkpoint at ``source``.

    Raises CheckpointError for a file that is damaged, before anything is converted.
    """
    work = _Mending(source, config)
    work.templates()
    work.ends_of_a_reply()
    work.processor()
    return Companions(work.files, tuple(work.told), work.eos_token_ids)


class _Mending:
    """The files of one checkpoint on their way, and what was said about them."""

    def __init__(self, source: Path, config: Gemma4Config):
        self.source, self.config = source, config
        self.files = {name: _read(source / name) for name in COPIED if (source / name).is_file()}
        self.told: list[str] = []
        self.eos_token_ids: tuple[int, ...] | None = None
        self.ids = self._control_tokens()
        self.stated_eos = GenerationConfig.from_dir(source, config).eos_token_ids
        self.has_template = has_template(source)
        ends = (*self.stated_eos, *config.eos_token_ids)
        self.is_chat = is_chat_model(self.ids, ends, self.has_template)

    def _control_tokens(self) -> Mapping[str, int]:
        if TOKENIZER in self.files:
            return Tokenizer.from_dir(self.source).control_tokens
        self.told.append(
            f"{self.source} has no {TOKENIZER}, so the result has none: nothing but its weights "
            "can be used"
        )
        return {}

    # --- chat template -------------------------------------------------------------------------

    def templates(self) -> None:
        """The newest template in the place of every stale one, and where a chat has none."""
        if TEMPLATE in self.files:
            text = _decoded(self.files[TEMPLATE], self.source / TEMPLATE)
            self.files[TEMPLATE] = self._renewed(text, TEMPLATE).encode()
        for name in TEMPLATE_HOLDERS:
            found = self._embedded(name)
            if isinstance(found, str):
                renewed: Any = self._renewed(found, name)
            else:  # several, each with its name
                renewed = [
                    {**item, "template": self._renewed(item["template"], name)}
                    if isinstance(item, dict) and isinstance(item.get("template"), str)
                    else item
                    for item in found or ()
                ]
            if found and renewed != found:
                content = read_json(self.source / name)
                self.files[name] = as_json({**content, "chat_template": renewed})
        if self.is_chat and not self.has_template:
            self.files[TEMPLATE] = newest(self.config).encode()
            self.told.append(
                f"the chat template was missing: Google's of {NEWEST} for "
                f"{size_of(self.config)} was put in"
            )

    def _embedded(self, name: str) -> Any:
        """The template, or the list of named ones, that a JSON file holds; None without."""
        return read_json(self.source / name).get("chat_template") if name in self.files else None

    def _renewed(self, template: str, name: str) -> str:
        revision = revision_of(template, self.config)
        if revision is None or not revision.is_stale:
            return template
        right = f"for {size_of(self.config)}"
        what = f"not the one {right}" if revision.of_other_size else f"Google's of {revision.date}"
        self.told.append(
            f"the chat template in {name} was {what}: that of {NEWEST} {right} took its place"
        )
        return newest(self.config)

    # --- ends of a reply -----------------------------------------------------------------------

    def ends_of_a_reply(self) -> None:
        """All of them in both files: readers differ in which one they look at."""
        if GENERATION in self.files:
            complete = self._with_all_ends(GENERATION, self.stated_eos)
            if complete is not None:
                content = read_json(self.source / GENERATION)
                self.files[GENERATION] = as_json({**content, "eos_token_id": list(complete)})
        elif self.is_chat and TURN_END in self.ids:
            ends = self.config.eos_token_ids
            complete = (*ends, *missing_ends(self.ids, ends, self.is_chat))
            self.files[GENERATION] = as_json(self._released_generation(complete))
            self.told.append(f"{GENERATION} was missing: the released one was put in")
        self.eos_token_ids = self._with_all_ends("config.json", self.config.eos_token_ids)

    def _with_all_ends(self, name: str, stated: tuple[int, ...]) -> tuple[int, ...] | None:
        """What the file must say instead, told; None when it says all of it."""
        missing = missing_ends(self.ids, stated, self.is_chat)
        if not missing:
            return None
        added = ", ".join(f"{number} {end}" for number, end in missing.items())
        self.told.append(f"{name} did not say that a reply ends at {added}: added")
        return (*stated, *missing)

    def _released_generation(self, eos: tuple[int, ...]) -> dict[str, Any]:
        defaults = GenerationConfig(eos)
        return {
            "bos_token_id": self.ids.get("<bos>"),
            "do_sample": defaults.do_sample,
            "eos_token_id": list(eos),
            "pad_token_id": self.ids.get("<pad>"),
            "temperature": defaults.temperature,
            "top_k": defaults.top_k,
            "top_p": defaults.top_p,
        }

    # --- processor -----------------------------------------------------------------------------

    def processor(self) -> None:
        """The released settings where those of a tower that the model has are missing."""
        given = read_json(self.source / PROCESSOR) if PROCESSOR in self.files else None
        missing = lacking_blocks(given or {}, self.config)
        if not missing:
            return
        released = self._released_processor()
        if given is None:
            self.files[PROCESSOR] = as_json(released)
            self.told.append(f"{PROCESSOR} was missing: the released one was put in")
        else:
            self.files[PROCESSOR] = as_json({**given, **{key: released[key] for key in missing}})
            self.told.append(
                f"{PROCESSOR} lacked {', '.join(missing)}: the released settings were put in"
            )

    def _released_processor(self) -> dict[str, Any]:
        """The file that all released models share, with the sizes of this one."""
        content = read_json(Path(str(package_files("gemma4_mlx.released"))) / PROCESSOR)
        image, video = content["image_processor"], content["video_processor"]
        if "preprocessor_config.json" in self.files:  # an older place for the picture's settings
            older = read_json(self.source / "preprocessor_config.json")
            image |= {key: older[key] for key in image if older.get(key) is not None}
        budget = read_json(self.source / "config.json").get("vision_soft_tokens_per_image")
        if budget in SOFT_TOKEN_BUDGETS:
            content["image_seq_length"] = image["image_seq_length"] = budget
            image["max_soft_tokens"] = budget
        if self.config.vision:
            for block in (image, video):
                block["patch_size"] = self.config.vision.patch_size
                block["pooling_kernel_size"] = self.config.vision.pooling_kernel_size
        if self.config.audio:  # its two convolutions halve the mel bins, which are its channels
            mels = 4 * (self.config.audio.subsampling_conv_channels[0] // 4)
            content["feature_extractor"]["feature_size"] = mels
        return content


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error}): download it again") from None


def _decoded(content: bytes, file: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file} cannot be read ({error}): download it again") from None
