"""Distils the face recogniser: a compact KP-RPE vision transformer."""
