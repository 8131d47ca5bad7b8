"""Gradients of losses on real data, through loewner and through the frameworks' own linalg."""
