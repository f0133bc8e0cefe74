"""From a pool to preference pairs: the regimes label critiques, the pairing joins them within one prompt."""
