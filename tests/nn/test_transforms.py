"""symlog and symexp."""

from __future__ import annotations

import math

import numpy as np
import torch

from wmrun.nn.transforms import symexp, symlog


def test_symlog_is_the_logarithm_of_one_more_with_the_sign_kept() -> None:
    values = symlog(torch.tensor([0.0, math.e - 1, 1 - math.e, 1e-6, -999.0]))
    np.testing.assert_allclose(values, [0, 1, -1, 1e-6, -math.log(1000)], rtol=1e-5)


def test_symexp_undoes_symlog() -> None:
    x = torch.cat([-torch.logspace(-6, 8, 50), torch.logspace(-6, 8, 50)])
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-5)
