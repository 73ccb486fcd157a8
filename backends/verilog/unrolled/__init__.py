"""Unrolled layers: every product is a wire, every neuron a heap of adders, a sample a cycle."""
