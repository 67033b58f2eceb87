"""Networks: residual ones, others, and how images enter them."""
