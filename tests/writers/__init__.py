"""Writers of the foreign checkpoint formats, for the tests: our own, byte by byte where the format is a pickle."""
