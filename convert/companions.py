"""What goes along with the weights: tokenizer, chat template, processor and generation files.

They are copied byte for byte, but for faults that checkpoints in circulation have. Each of these
is mended and told in a sentence:

* ends of a reply that config.json or generation_config.json does not name; without
  ``<|tool_response>`` among them a model goes on and makes up the answer of a tool it called,
* a processor_config.json that is missing or lacks what a tower of the model needs; without its
  ``feature_extractor`` some readers ignore recordings in silence,
* a chat template that Google has replaced since, or none at all with a chat model.

Ids are looked up in the checkpoint's own tokenizer. A base model has no chat template and ends a
text with ``<eos>`` alone; it stays so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from gemma4_convert.writing import as_json
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.json_files import read_json
from gemma4_mlx.processing.chat_revisions import NEWEST, newest, outdated_revision, size_of
from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS
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

TURN_END = "<turn|>"
ENDS_OF_A_REPLY = ("<eos>", TURN_END, "<|tool_response>")


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
        self.is_chat = self._is_chat()

    def _control_tokens(self) -> Mapping[str, int]:
        if TOKENIZER in self.files:
            return Tokenizer.from_dir(self.source).control_tokens
        self.told.append(
            f"{self.source} has no {TOKENIZER}, so the result has none: nothing but its weights "
            "can be used"
        )
        return {}

    def _is_chat(self) -> bool:
        """It comes with a chat template, or one of its files ends a reply where a turn ends."""
        ends = (*self.stated_eos, *self.config.eos_token_ids)
        return self._has_template() or self.ids.get(TURN_END) in ends

    # --- chat template -------------------------------------------------------------------------

    def templates(self) -> None:
        """The newest template in the place of every outdated one, and where a chat has none."""
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
        if self.is_chat and not self._has_template():
            self.files[TEMPLATE] = newest(self.config).encode()
            self.told.append(
                f"the chat template was missing: Google's of {NEWEST} for "
                f"{size_of(self.config)} was put in"
            )

    def _has_template(self) -> bool:
        return TEMPLATE in self.files or any(map(self._embedded, TEMPLATE_HOLDERS))

    def _embedded(self, name: str) -> Any:
        """The template, or the list of named ones, that a JSON file holds; None without."""
        return read_json(self.source / name).get("chat_template") if name in self.files else None

    def _renewed(self, template: str, name: str) -> str:
        date = outdated_revision(template)
        if date is None:
            return template
        self.told.append(
            f"the chat template in {name} was Google's of {date}: that of {NEWEST} for "
            f"{size_of(self.config)} took its place"
        )
        return newest(self.config)

    # --- ends of a reply -----------------------------------------------------------------------

    def ends_of_a_reply(self) -> None:
        """All of them in both files: readers differ in which one they look at."""
        if not self.is_chat or TURN_END not in self.ids:
            return
        wanted = {self.ids[token]: token for token in ENDS_OF_A_REPLY if token in self.ids}
        if GENERATION not in self.files:
            complete = _with(self.config.eos_token_ids, wanted)
            self.files[GENERATION] = as_json(self._released_generation(complete))
            self.told.append(f"{GENERATION} was missing: the released one was put in")
        elif set(wanted) - set(self.stated_eos):
            complete = _with(self.stated_eos, wanted)
            content = read_json(self.source / GENERATION)
            self.files[GENERATION] = as_json({**content, "eos_token_id": list(complete)})
            self._tell_of_ends(GENERATION, self.stated_eos, wanted)
        if set(wanted) - set(self.config.eos_token_ids):
            self.eos_token_ids = _with(self.config.eos_token_ids, wanted)
            self._tell_of_ends("config.json", self.config.eos_token_ids, wanted)

    def _tell_of_ends(self, name: str, stated: tuple[int, ...], wanted: Mapping[int, str]) -> None:
        added = ", ".join(f"{i} {token}" for i, token in wanted.items() if i not in stated)
        self.told.append(f"{name} did not say that a reply ends at {added}: added")

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
        towers = {
            "image_processor": self.config.vision,
            "video_processor": self.config.vision,
            "feature_extractor": self.config.audio,
        }
        given = read_json(self.source / PROCESSOR) if PROCESSOR in self.files else None
        missing = [name for name, tower in towers.items() if tower and not (given or {}).get(name)]
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


def _with(stated: tuple[int, ...], wanted: Mapping[int, str]) -> tuple[int, ...]:
    return (*stated, *(i for i in wanted if i not in stated))


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
