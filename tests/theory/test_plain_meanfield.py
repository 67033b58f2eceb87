"""The mean field in plain numpy moves every population as the compiled one does."""

import numpy as np
import pytest

from theory.config import TheoryConfig
from theory.predict import predict_many

QUICK = TheoryConfig(d=800, n=20, n_forget=4, m=5, pretrain_epochs=20, epochs=20, directions=64)
CELLS = [
    QUICK, QUICK.changed(pretrain="sam", unlearn="sam"), QUICK.changed(unlearn="sharpen", rho_scale=0.5),
    QUICK.changed(pretrain="sam:8, sgd", unlearn="retain_sam", rho_scale=0.7),
    QUICK.changed(method="random_label", unlearn="sam"), QUICK.changed(n=200, n_forget=100, m=3, unlearn="sam"),
    QUICK.changed(n_forget=1, m=1, pretrain="sam", pretrain_stop_loss=0.65), QUICK.changed(patches=4, alpha=0.6),
]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_every_number_of_a_prediction_is_that_of_the_compiled_field(cell):
    plain, compiled = (predict_many([cell], plainly=plainly)[0] for plainly in (True, False))
    for stage in ("pretrain", "metrics"):
        for name, expected in getattr(compiled, stage).items():
            np.testing.assert_allclose(getattr(plain, stage)[name], expected, rtol=1e-9, atol=1e-11, err_msg=name)
    moved = compiled.metrics["forget_margin"]
    assert moved[-1] != moved[0]
