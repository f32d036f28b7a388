"""Whether what goes along with the weights is right: tokenizer, ends of a reply, template, media.

Faults here do not stop a model from loading, and make it talk nonsense all the same. What counts
as one is decided where the files are read; ``gemma4 convert`` mends it by the same rules.
"""

from pathlib import Path

from gemma4_mlx.checks.outcome import Check, Status, judged, refused
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.generation_config import (
    ENDS_OF_A_REPLY,
    GenerationConfig,
    is_chat_model,
    missing_ends,
)
from gemma4_mlx.json_files import read_json
from gemma4_mlx.processing.chat_revisions import NEWEST, revision_of, size_of
from gemma4_mlx.processing.chat_template import ChatTemplate, has_template
from gemma4_mlx.processing.settings import ProcessorSettings, lacking_blocks
from gemma4_mlx.processing.tokenizer import Tokenizer

VOCABULARY = 262_144

# What the tokenizer of the released models makes of these.
GOLDEN: dict[str, tuple[int, ...]] = {
    "Hello, world! 12345": (
        *(9259, 236764, 1902, 236888, 236743),
        *(236770, 236778, 236800, 236812, 236810),
    ),
    "  spaced  text\n": (138, 169862, 138, 1005, 107),
    "你好，世界！": (144626, 236900, 12811, 237354),
    "Café — κόσμος 🚀": (160319, 236859, 2192, 150665, 148148, 236743, 242015),
    "<|channel>thought\nplan<channel|><|tool_call>call:f{}<tool_call|>": (
        *(100, 45518, 107, 15081, 101),
        *(48, 6639, 236787, 236760, 16454, 49),
    ),
    "user": (2364,),
    "model": (4368,),
    "system": (9731,),
    "thought": (45518,),
    " Paris": (50429,),
}
# Ids of that vocabulary, to be trusted more than a tokenizer that is to be checked.
RELEASED_IDS = {"<eos>": 1, "<turn|>": 106, "<|tool_response>": 50}


def check_tokenizer(path: Path, config: Gemma4Config) -> tuple[Check, Tokenizer | None]:
    """tokenizer.json, against known tokenizations where it is Gemma 4's own."""
    name = "tokenizer"
    try:
        tokenizer = Tokenizer.from_dir(path)
    except Exception as error:
        return refused(name, error), None
    size, expected = tokenizer.vocab_size, config.text.vocab_size
    if size > expected:
        problem = f"tokenizer.json has {size:,} tokens, the model's embedding {expected:,}"
        return Check(name, Status.FAILED, f"{problem}: use files of one checkpoint"), tokenizer
    if expected != VOCABULARY:
        detail = f"{size:,} tokens; what it makes of texts is known for {VOCABULARY:,} only"
        return Check(name, Status.OK, detail), tokenizer
    problems = []
    for text, golden in GOLDEN.items():
        try:
            found = tuple(tokenizer.encode(text))
        except Exception as error:
            problems.append(f"{text!r}: {refused(name, error).detail}")
            continue
        if found != golden:
            problems.append(f"{text!r} is {_listed(found)}, expected {_listed(golden)}")
    check = judged(
        name,
        problems,
        f"{size:,} tokens, {len(GOLDEN)} known texts tokenized as they should be",
        f"{len(problems)} of {len(GOLDEN)} known texts tokenized otherwise",
    )
    return check, tokenizer


def check_ends(path: Path, config: Gemma4Config, tokenizer: Tokenizer | None) -> Check:
    """The ids that end a reply: without all of them a model talks past its turn."""
    name = "ends of a reply"
    try:
        stated = GenerationConfig.from_dir(path, config).eos_token_ids
    except Exception as error:
        return refused(name, error)
    if config.text.vocab_size == VOCABULARY:
        ids = RELEASED_IDS
    elif tokenizer is not None:
        ids = tokenizer.control_tokens
    else:
        return Check(name, Status.SKIPPED, "not compared: there is no tokenizer to name the ids")
    in_words = {ids[end]: end for end in ENDS_OF_A_REPLY if end in ids}
    told = ", ".join(f"{number} {in_words.get(number, '?')}" for number in stated)
    is_chat = is_chat_model(ids, (*stated, *config.eos_token_ids), has_template(path))
    where = "generation_config.json"
    if not (path / where).exists():
        where = f"config.json ({where} is missing)"
    return judged(
        name,
        [
            f"{number} {end} does not end a reply"
            for number, end in missing_ends(ids, stated, is_chat).items()
        ],
        told + ("" if is_chat else " (a base model: no chat template)"),
        f"{where} says {told}: use that of the original checkpoint",
    )


def check_template(path: Path, config: Gemma4Config) -> Check:
    """Whose chat template it is, and whether Google has replaced it since."""
    name = "chat template"
    try:
        template = ChatTemplate.from_dir(path, config.text.bidirectional_vision)
        _try_out(template)
    except Exception as error:
        return refused(name, error)
    if template.is_shipped:
        detail = f"the checkpoint has none: Google's of {NEWEST} for {size_of(config)} is used"
        return Check(name, Status.OK, detail)
    revision = revision_of(template.source, config)
    if revision is None:
        return Check(name, Status.OK, "none of Google's; it renders a conversation")
    if not revision.is_stale:
        return Check(name, Status.OK, f"Google's of {NEWEST} for {size_of(config)}, the newest")
    if revision.of_other_size:
        detail = f"it is not the one for {size_of(config)}: copy that of the original checkpoint"
        return Check(name, Status.FAILED, detail)
    date = revision.date
    detail = f"Google's of {date}, replaced on {NEWEST}: `gemma4 convert` puts the newest in"
    return Check(name, Status.WARNING, detail)


def check_processor(path: Path, config: Gemma4Config) -> Check:
    """How pictures and recordings are read; a part that is missing is taken as released."""
    name = "processor"
    file = path / "processor_config.json"
    try:
        ProcessorSettings.from_dir(path)
        raw = read_json(file) if file.exists() else {}
    except Exception as error:
        return refused(name, error)
    lacking = lacking_blocks(raw, config)
    if lacking:
        what = f"lacks {', '.join(lacking)}" if raw else "is missing"
        detail = f"{file.name} {what}: the released values are used here, not everywhere"
        return Check(name, Status.WARNING, detail)
    return Check(name, Status.OK, "every tower has its settings" if raw else "no tower needs one")


def _try_out(template: ChatTemplate) -> None:
    conversation = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello yourself"},
        {"role": "user", "content": "Good"},
    ]
    text = template.render(conversation, None, enable_thinking=False, add_generation_prompt=True)
    lost = [said for said in ("Hello yourself", "Good") if said not in text]
    if lost:
        raise ValueError(f"it leaves out what was said ({lost[0]!r})")


def _listed(ids: tuple[int, ...]) -> str:
    return ",".join(map(str, ids))
