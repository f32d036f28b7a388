"""Long recordings into text: windows, prompts, transcripts."""
