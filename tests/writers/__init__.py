"""Test writers of the foreign checkpoint formats, independent of the originals; pickles are emitted byte by byte."""
