"""What was knowable, as numbers: markets, sources, store, features, states, outcomes."""
