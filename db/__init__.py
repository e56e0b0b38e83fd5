"""One store, one caller at a time; the only package that imports a driver."""
