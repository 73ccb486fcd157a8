"""Kernels of training steps, one algorithm a file: a whole batch a call, split among threads by samples or by rows."""
