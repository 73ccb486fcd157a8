"""From the modules of a training step to one «loop» program that runs whole epochs, on any number of threads."""

from bnnc.loops.lower.training.program import TrainingProgram, lower_training

__all__ = ["TrainingProgram", "lower_training"]
