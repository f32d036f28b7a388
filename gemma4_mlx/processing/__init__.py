"""From messages, pictures, recordings and videos to the arrays the model reads."""
