"""The HTTP service: stored forecasts, what-if, ledger, health and metrics. Imported by `capshift serve` only."""
