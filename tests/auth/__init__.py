"""Tokens and keys: whom a token names, and every way in which it can name nobody."""
