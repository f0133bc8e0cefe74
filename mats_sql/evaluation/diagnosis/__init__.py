"""Where a signal is lost."""
