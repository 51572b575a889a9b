"""Products: the forecast, the note, the command line."""
