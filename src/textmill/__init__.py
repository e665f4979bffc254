"""Textmill: a person's own text in, their own language model out."""

__version__ = "0.1.0"
