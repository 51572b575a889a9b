"""Crowding measures from a stock panel: how alike the smallest stocks trade, how one-way, and how hard to leave."""
