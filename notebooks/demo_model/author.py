"""The author of what the demo model learns: recordings, pictures, questions, a tool.

Media come before the text, as in the app. Replies are what the model should write; only the last
one is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

import prompts
from examples import Example, Message, user_turn
from scenes import Scene, draw_scene
from speech import TOKEN_RATE, Clips, Utterance, sparse, spoken, wordless


@dataclass
class Exchange:
    """One user turn with its media, the reply to it, and the thought that precedes the reply."""

    content: list[dict[str, str]]
    answer: str
    thought: str
    audio: list[Utterance] = field(default_factory=list)
    images: list[Scene] = field(default_factory=list)


class Author:
    """Draws conversations at random."""

    def __init__(self, clips: Clips, rng: np.random.Generator) -> None:
        self.clips = clips
        self.rng = rng
        self.known = prompts.read_questions()

    def digits(self, size: str) -> list[list[Example]]:
        """Batches of recordings ('short', 'medium', 'long'), each of similar lengths and under
        one prompt, so that little of a batch is padding."""
        rng = self.rng
        seconds, low, high, several, tokens = {
            "short": (12.0, 1, 6, 20, 1500),
            "medium": (20.0, 6, 40, 20, 2000),
            "long": (29.9, 30, 62, 24, 2300),
        }[size]
        # A window full of words has no long pauses.
        manners = ("tight", "natural", "natural", "mixed") if size == "long" else (None,)
        drawn = []
        for _ in range(several):
            kind = rng.random()
            count = int(rng.integers(low, high + 1))
            if kind < 0.03:
                drawn.append(wordless(rng, rng.uniform(0.3, seconds / 2)))
            elif kind < 0.08:
                few = int(rng.integers(1, min(count, 8) + 1))
                length = rng.uniform(0.4, 0.9) * seconds
                drawn.append(sparse(self.clips, rng, few, length, augment=True))
            else:
                manner = manners[rng.integers(len(manners))]
                drawn.append(
                    spoken(self.clips, rng, count, augment=True, seconds=seconds, manner=manner)
                )
        batches = similar(drawn, tokens, lambda heard: TOKEN_RATE * heard.seconds + 40)
        return [self._transcriptions(batch) for batch in batches]

    def _transcriptions(self, recordings: list[Utterance]) -> list[Example]:
        content = user_turn("audio", self._transcription_prompt())
        messages = [*self._maybe_system(), {"role": "user", "content": content}]
        return [Example(messages, heard.text, audio=(heard,)) for heard in recordings]

    def scenes(self, count: int) -> list[Example]:
        """Pictures to be named."""
        examples = []
        for _ in range(count):
            scene = draw_scene(self.rng)
            content = user_turn("image", str(self.rng.choice(prompts.LOOK)))
            messages = [*self._maybe_system(), {"role": "user", "content": content}]
            examples.append(Example(messages, scene.text, images=(scene,)))
        return examples

    def talks(self, count: int, *, media: bool) -> list[Example]:
        """Conversations of one to four turns; with `media` some turns bring sound or a picture."""
        draw: list[Callable[[bool], Example]] = [self._conversation, self._weather]
        return [draw[int(self.rng.random() < 0.25 and not media)](media) for _ in range(count)]

    def _conversation(self, media: bool) -> Example:
        rng = self.rng
        turns = int(
            rng.choice((1, 2, 3, 4), p=(0.1, 0.5, 0.3, 0.1) if media else (0.6, 0.2, 0.15, 0.05))
        )
        exchanges = [self._exchange(media) for _ in range(turns)]
        thinking = rng.random() < 0.25
        messages = self._maybe_system()
        for exchange in exchanges[:-1]:
            messages += [
                {"role": "user", "content": exchange.content},
                {"role": "assistant", "content": exchange.answer},
            ]
        last = exchanges[-1]
        messages.append({"role": "user", "content": last.content})
        return Example(
            messages,
            think(last.thought, last.answer) if thinking else last.answer,
            audio=tuple(heard for exchange in exchanges for heard in exchange.audio),
            images=tuple(image for exchange in exchanges for image in exchange.images),
            thinking=thinking,
            tools=(prompts.WEATHER_TOOL,) if rng.random() < 0.1 else (),
        )

    def _exchange(self, media: bool) -> Exchange:
        rng = self.rng
        kind = rng.random()
        if media and kind < 0.4:
            heard = spoken(self.clips, rng, int(rng.integers(1, 5)), augment=True, seconds=4.0)
            content = user_turn("audio", self._transcription_prompt())
            return Exchange(content, heard.text, "I write down what I hear.", audio=[heard])
        if media and kind < 0.7:
            scene = draw_scene(rng)
            content = user_turn("image", str(rng.choice(prompts.LOOK)))
            return Exchange(content, scene.text, "I look at the picture.", images=[scene])
        if kind > 0.93:
            question, ask = self.known.unknown, self._nonsense()
        elif kind > 0.85:
            question = self.known.unknown
            ask = str(rng.choice(question.ask))
        else:
            question = self.known.questions[rng.integers(len(self.known.questions))]
            ask = str(rng.choice(question.ask))
        return Exchange(user_turn("text", self._casual(ask)), question.answer, question.thought)

    def _weather(self, media: bool) -> Example:
        """The tool: asked for, called, answered; and not called where it is not declared."""
        rng = self.rng
        city = self._city()
        ask = str(rng.choice(prompts.ASK_WEATHER)).format(city)
        messages = [*self._maybe_system(), {"role": "user", "content": ask}]
        thinking = rng.random() < 0.2
        stage = rng.random()
        if stage < 0.15:
            unknown = self.known.unknown
            answer = think(unknown.thought, unknown.answer) if thinking else unknown.answer
            return Example(messages, answer, thinking=thinking)
        tools = (prompts.WEATHER_TOOL,)
        if stage < 0.6:
            answer = f'<|tool_call>call:get_weather{{city:<|"|>{city}<|"|>}}<tool_call|>'
            if thinking:
                answer = think("I need the weather.", answer)
            return Example(messages, answer, thinking=thinking, tools=tools, end="<|tool_response>")
        value = self._weather_report()
        call = {"name": "get_weather", "arguments": {"city": city}}
        messages += [
            {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
            {"role": "tool", "name": "get_weather", "content": value},
        ]
        answer = f"The weather in {city} is {value}."
        if thinking:  # the template has opened the channel already
            answer = f"I have the weather.<channel|>{answer}"
        return Example(messages, answer, thinking=thinking, tools=tools)

    def _weather_report(self) -> str:
        rng = self.rng
        sky, degrees = str(rng.choice(prompts.SKIES)), int(rng.integers(-15, 41))
        forms = (f"{sky}, {degrees} degrees", sky, f"{degrees} degrees", f"{sky} and {degrees} °C")
        return str(rng.choice(forms))

    def _city(self) -> str:
        """A city, or letters that were never seen together, so that copying is what is learned."""
        rng = self.rng
        if rng.random() < 0.6:
            return str(rng.choice(prompts.CITIES))
        letters = "".join(
            rng.choice(list("aeiou" if i % 2 else "bcdfghklmnprstvwz"))
            for i in range(int(rng.integers(3, 9)))
        )
        return letters.capitalize()

    def _transcription_prompt(self) -> str:
        rng = self.rng
        prompt = rng.choice(
            (prompts.TRANSCRIBE_ENGLISH, prompts.TRANSCRIBE_ANY, "freely"), p=(0.3, 0.2, 0.5)
        )
        return str(rng.choice(prompts.TRANSCRIBE_FREELY) if prompt == "freely" else prompt)

    def _maybe_system(self) -> list[Message]:
        if self.rng.random() > 0.12:
            return []
        return [{"role": "system", "content": str(self.rng.choice(prompts.SYSTEM))}]

    def _casual(self, ask: str) -> str:
        """As people type: now and then without capitals or the final mark."""
        if self.rng.random() < 0.15:
            ask = ask.lower()
        return ask.rstrip("?.!") if self.rng.random() < 0.15 else ask

    def _nonsense(self) -> str:
        """Words of the question set in a random order: it is no question, however it looks."""
        words = " ".join(ask for q in self.known.questions for ask in q.ask).split()
        return " ".join(self.rng.choice(words, int(self.rng.integers(3, 9))))


def think(thought: str, answer: str) -> str:
    return f"<|channel>thought\n{thought}<channel|>{answer}"


def similar(
    heard: Sequence[Utterance], most: float, cost: Callable[[Utterance], float]
) -> list[list[Utterance]]:
    """Batches of similar lengths: one costs what its longest does, times how many are in it, and
    at most `most`, unless there is but one."""
    batches: list[list[Utterance]] = [[]]
    for utterance in sorted(heard, key=lambda utterance: utterance.seconds):
        if batches[-1] and (len(batches[-1]) + 1) * cost(utterance) > most:
            batches.append([])
        batches[-1].append(utterance)
    return batches
