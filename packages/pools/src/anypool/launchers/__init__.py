"""The launchers that come with anypool."""
