"""Measures anypool beside other libraries, in interleaved pairs."""
