"""A turn that is spoken instead of typed."""

from gemma4_cli.chat.answering import send_waiting
from gemma4_cli.chat.state import Chat
from gemma4_cli.console import remark


def speak(chat: Chat, *, enter_begins: bool = False) -> None:
    """Record until the user stops, and send it with what waits; ``enter_begins``: see talk."""
    from gemma4_cli.chat.media.attached import attach_recording
    from gemma4_cli.chat.talk import talk

    chat.check_hears()
    processor = chat.session.processor
    longest = processor.settings.max_samples / processor.sampling_rate
    samples = talk(longest, enter_begins=enter_begins)
    if samples is None:
        remark("nothing was sent")
        return
    part, line = attach_recording(samples, "microphone", processor)
    remark(line)
    chat.waiting.append(part)
    send_waiting(chat)
