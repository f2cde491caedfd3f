"""The three Dreamers from Python: `from wmrun import DreamerAgent, DreamerConfig`."""
