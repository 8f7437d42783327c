"""How sessions speak on the wire."""
