"""Launcher parallel-python: ppft's workers here and at ppservers, and the command `anypool ppserver`."""
