"""The random numbers of training: which wordpieces it hides, and where it cuts long notes."""

import numpy as np
import torch


def new_generator() -> np.random.Generator:
    """A generator for one batch or note, seeded by torch's, which `training.seed` seeds.

    numpy's global generator does not serve: an encoder may seed it in each forward pass, so that
    all batches would be masked alike.
    """
    return np.random.default_rng(int(torch.randint(2**63 - 1, ())))
