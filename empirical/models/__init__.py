"""Networks: residual and other architectures, and the preparation of their images."""
