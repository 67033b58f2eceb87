"""What is measured of a network at a checkpoint: learning coefficients, errors, activations, attacks, curvature."""
