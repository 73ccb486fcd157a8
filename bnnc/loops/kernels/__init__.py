"""Algorithms, each written once as a builder of «loop» functions."""
