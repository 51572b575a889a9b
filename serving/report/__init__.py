"""The note: one forecast as a page, and as a table for the terminal."""
