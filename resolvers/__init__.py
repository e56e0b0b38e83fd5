"""How a field finds its value, for all parents of a level at once."""
