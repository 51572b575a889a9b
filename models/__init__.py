"""Arrays in, probabilities and scenarios out."""
