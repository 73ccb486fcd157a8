"""Passes: functions from module to module. pipelines.py is the whole compiler on one page."""
