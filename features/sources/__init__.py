"""Where observations come from: a folder of files, or the simulated market."""
