"""Input that nobody means: mutated requests, frames, commands and tokens, by the thousand, from a seed."""
