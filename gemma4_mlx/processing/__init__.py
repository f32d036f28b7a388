"""From messages, pictures, recordings and videos to the arrays the model reads.

messages        what a caller says, checked
chat_template   messages → text          prompt      … with people's text kept apart
tokenizer       text → ids
sources         where a file comes from
images          a file → RGB             patches     RGB → patches and positions
waveform        a file → samples         mel         samples → log-mel frames
video           a file → frames with their times
media_inputs    the media of one prompt together
processor       all of it: messages → model inputs
"""
