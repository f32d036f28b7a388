"""The real program in a pseudo-terminal, with the demo model: what a user types and sees."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.chat.program import Program, gemma4
from tests.cli.chat.pulse import needs_pulse, software_microphone

DEMO = Path(__file__).parents[3] / "notebooks" / "demo_model"
SCENE = (DEMO / "scene.txt").read_text().strip()
WHO = "I am the Gemma 4 demo model"
PROMPT = "> "


def ready(talk: Program) -> None:
    talk.wait_for("Ctrl-D leaves", "\n>")


def ask(talk: Program, line: str, answer: str, times: int = 1) -> str:
    """A line, its answer, and the status line under it."""
    statuses = talk.text.count("tokens/s")
    talk.enter(line)
    talk.wait_for("tokens/s", times=statuses + 1)
    return talk.wait_for(answer, times=times)


def leave(talk: Program) -> None:
    talk.enter("/exit")
    assert talk.wait_for_end() == 0


def test_a_conversation(tmp_path: Path) -> None:
    """Text, several lines, a dropped picture, another reply, one taken back, figures."""
    scene = tmp_path / "a picture (1).png"
    shutil.copy(DEMO / "scene.png", scene)
    with gemma4("chat", "-m", "demo", home=tmp_path) as talk:
        ready(talk)
        text = ask(talk, "Who are you?", WHO)
        assert "context" in text and "first after" in text

        dropped = str(scene).replace(" ", "\\ ").replace("(", "\\(").replace(")", "\\)")
        text = ask(talk, f"{dropped} What do you see?", SCENE)
        assert "picture a picture (1).png: 629 × 360" in text and "66 tokens" in text

        talk.enter("/retry")
        talk.wait_for(SCENE, times=2)
        talk.enter("/undo")
        talk.wait_for("taken back: “What do you see?”")

        talk.type('"""Who\r')
        talk.wait_for("…")
        talk.enter('are you?"""')
        talk.wait_for("tokens/s", times=4)

        talk.enter("/stats")
        text = talk.wait_for("prefilled", "of 8,192 tokens")
        rows = [
            line.split() for line in text.splitlines() if line.strip().endswith(tuple("0123456789"))
        ]
        prompts = {row[0]: (row[1], row[2]) for row in rows if row[0] in "1234" and len(row) == 7}
        assert list(prompts) == ["1", "2", "3", "4"]
        whole, retried, after_undo = prompts["2"], prompts["3"], prompts["4"]
        assert whole[0] == retried[0] and int(retried[1]) < 10  # the cue for the reply alone
        assert int(after_undo[0]) - int(after_undo[1]) >= 8  # the first turn is not read again
        leave(talk)


def test_ctrl_c_keeps_what_came(tmp_path: Path) -> None:
    with gemma4("chat", "-m", "demo", home=tmp_path) as talk:
        ready(talk)
        interrupted = False
        for number in range(5):  # on a busy machine a reply may be whole before it can be stopped
            talk.enter("Explain per-layer embeddings.")
            talk.wait_for("\nPer", times=number + 1)
            talk.type("\x03")
            talk.wait_for("\n>", times=2 * number + 2)
            if interrupted := "stopped; what came is kept" in talk.text:
                break
            talk.enter("/clear")
            talk.wait_for("forgotten", times=number + 1)
        assert interrupted
        ask(talk, "Who are you?", "tokens/s")
        talk.wait_for("\n>\n")
        talk.type("\x03")
        talk.wait_for("Ctrl-C again leaves")
        talk.type("\x03")
        assert talk.wait_for_end() == 130
    (kept,) = (tmp_path / "state" / "gemma4" / "sessions").glob("*.json")
    replies = [m["content"] for m in json.loads(kept.read_text())["messages"][1::2]]
    assert replies[0].startswith("Per-layer") and not replies[0].endswith("on disk.")
    assert len(replies) == 2 and replies[1]


def test_saved_here_and_loaded_there(tmp_path: Path) -> None:
    """A name without a folder is of the folder that the program was started in."""
    with gemma4("chat", "-m", "demo", home=tmp_path, cwd=tmp_path) as talk:
        ready(talk)
        ask(talk, f"What is this? {DEMO / 'scene.png'}", SCENE)
        talk.enter("/save talk.json")
        talk.wait_for("saved to")
        leave(talk)
    saved = tmp_path / "talk.json"

    with gemma4("chat", "-m", "demo", home=tmp_path) as talk:
        ready(talk)
        talk.enter(f"/load {saved}")
        talk.wait_for("talk.json: 1 turn")
        talk.enter("/retry")
        talk.wait_for(SCENE)
        talk.enter("/model demo")
        talk.wait_for("goes on")
        talk.enter("/retry")
        talk.wait_for(SCENE, times=2)
        leave(talk)

    with gemma4("chat", "--continue", home=tmp_path) as talk:
        ready(talk)
        talk.enter("/retry")
        talk.wait_for(SCENE)
        talk.enter(f"/export {tmp_path / 'talk.md'}")
        talk.wait_for("written to")
        leave(talk)
    assert SCENE in (tmp_path / "talk.md").read_text()


def test_a_tool_runs_after_a_yes(tmp_path: Path) -> None:
    with gemma4("chat", "-m", "demo", "--tool", DEMO / "weather.py", home=tmp_path) as talk:
        ready(talk)
        talk.enter("What is the weather in London?")
        talk.wait_for("get_weather(city='London')", "run get_weather?", "[a]lways")
        talk.enter("n")
        talk.wait_for("get_weather was not run")
        talk.wait_for("tokens/s", times=2)
        talk.enter("/clear")
        talk.wait_for("forgotten")
        talk.enter("What is the weather in London?")
        talk.wait_for("run get_weather?", "[a]lways", times=2)
        talk.enter("y")
        talk.wait_for("get_weather gave sunny", "The weather in London is sunny.")
        leave(talk)


def test_twenty_columns(tmp_path: Path) -> None:
    with gemma4("chat", "-m", "demo", home=tmp_path, columns=20) as talk:
        talk.wait_for("\n>")
        talk.enter("Who are you?")
        talk.wait_for("parameters.", "tokens")
        talk.enter("/nothing")
        talk.wait_for("gemma4: there is no", "command /nothing")
        leave(talk)


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_plain_terminals(tmp_path: Path, variable: dict[str, str]) -> None:
    with gemma4("chat", "-m", "demo", home=tmp_path, env=variable) as talk:
        talk.wait_for("Ctrl-D leaves", "\n>")
        talk.enter("Who are you?")
        talk.wait_for(WHO)
        talk.wait_for("\n>", times=2)  # before it, Ctrl-D would be the driver's
        if "TERM" in variable:
            assert "\x1b" not in talk.raw.replace("\x1b[2m", "").replace("\x1b[0m", "")
        talk.type("\x04")
        assert talk.wait_for_end() == 0


@needs_pulse
def test_a_spoken_turn(tmp_path: Path) -> None:
    """A real recording played into a microphone; what is said stands on the screen."""
    words = (DEMO / "digits.txt").read_text().strip()
    with (
        software_microphone() as device,
        gemma4("chat", "-m", "demo", home=tmp_path, env=device.environment) as talk,
    ):
        ready(talk)
        talk.enter("/mic")
        talk.wait_for("press Enter to talk")
        talk.wait_for("no sound")
        talk.type("\r")
        device.play(DEMO / "digits.wav")
        talk.wait_for("microphone: ", "tokens", words, "tokens/s")

        talk.enter("/voice on")
        talk.wait_for("(Enter to talk) >")
        talk.enter("/voice off")
        talk.wait_for("typed again")
        leave(talk)


def test_what_is_typed_ahead(tmp_path: Path) -> None:
    """It does not stand in the reply, and two lines are two messages."""
    with gemma4("chat", "-m", "demo", home=tmp_path) as talk:
        ready(talk)
        talk.type("Who wrote Hamlet?\r")
        talk.wait_for("Hamlet?")
        talk.type("/set seed 7\r/set\r")
        text = talk.wait_for("I am a very small demo model", "seed is 7", "max_tokens default")
        reply = text[text.index("I am a very") : text.index("tokens/s")]
        assert reply.startswith("I am a very small demo model, so I do not know that.")
        assert "/set" not in reply
        leave(talk)


@pytest.mark.parametrize("variable", [{}, {"NO_COLOR": "1"}])
def test_what_is_typed_into_a_reply(tmp_path: Path, variable: dict[str, str]) -> None:
    with gemma4("chat", "-m", "demo", home=tmp_path, env=variable) as talk:
        ready(talk)
        talk.enter("What are per-layer embeddings?")
        talk.wait_for("embeddings give")
        talk.type("/set seed 7\r")
        text = talk.wait_for("tokens/s", "seed is 7")
        assert "/set" not in text[text.index("embeddings give") : text.index("tokens/s")]
        leave(talk)


def test_going_on_says_so(tmp_path: Path) -> None:
    with gemma4("chat", "Who are you?", "-m", "demo", home=tmp_path) as talk:
        talk.wait_for(WHO, "tokens/s")
        leave(talk)
    with gemma4("chat", "--continue", home=tmp_path) as talk:
        talk.wait_for("going on after 1 turn")
        leave(talk)
