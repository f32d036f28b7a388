"""What the keys of the line editor do beside the usual ones of emacs or vi.

Enter sends. Alt-Enter and Esc Enter begin a new line. A message that begins with three quotation
marks goes on over lines until it ends with them. What is pasted is never sent by itself: its
newlines stay in it. Ctrl-C clears the line, and leaves an empty one. Ctrl-J is Enter: the terminal
makes that of an Enter pressed while a reply is still coming.
"""

from prompt_toolkit.application import get_app
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from gemma4_cli.chat.line.several_lines import is_open


def key_bindings() -> KeyBindings:
    """Bindings for a prompt of several lines."""
    bindings = KeyBindings()
    editing = has_focus(DEFAULT_BUFFER)  # and not the line that searches the history

    @Condition
    def chosen() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and state.current_completion is not None

    @Condition
    def the_only_one() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and len(state.completions) == 1

    @bindings.add("enter", filter=editing & ~chosen)
    @bindings.add("c-j", filter=editing & ~chosen)
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @bindings.add("enter", filter=editing & chosen)
    @bindings.add("c-j", filter=editing & chosen)
    def choose(event: KeyPressEvent) -> None:
        """What was chosen stands in the line; only a command that takes nothing is whole."""
        buffer = event.current_buffer
        buffer.complete_state = None
        if buffer.text.startswith("/") and buffer.text[1:].isalpha():
            buffer.validate_and_handle()

    @bindings.add("tab", filter=editing & chosen & the_only_one)
    def go_on(event: KeyPressEvent) -> None:
        """There is no other to choose, but something may follow: a folder's files."""
        event.current_buffer.complete_state = None
        event.current_buffer.start_completion(insert_common_part=True)

    @bindings.add("escape", "enter", filter=editing)
    @bindings.add("escape", "c-j", filter=editing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("c-c", filter=editing)
    @bindings.add("<sigint>")
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return bindings
