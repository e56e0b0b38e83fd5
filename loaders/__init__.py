"""How many keys become one read: query constant, row, batch function."""
