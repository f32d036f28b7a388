"""From a prompt to a reply: sampling, the decode loop, reading the reply, conversations."""
