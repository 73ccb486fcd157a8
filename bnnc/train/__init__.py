"""Training with XNOR, popcount and increments: plans, encoders, the step as modules, the loop over epochs."""
