"""The nouns and rules of Limner; pure: no input, no output, no clock."""
