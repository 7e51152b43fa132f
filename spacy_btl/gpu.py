"""Select the GPU that a command is told to use."""

from thinc.api import require_gpu

from spacy_btl.about import how_to_install
from spacy_btl.errors import PipelineError


def use_gpu(gpu: int) -> None:
    """Make spaCy use a GPU.

    gpu (int): Its number; -1 is the CPU.
    RAISES: PipelineError, if it cannot be used.
    """
    if gpu < 0:
        return
    try:
        require_gpu(gpu)
    except Exception as error:  # of thinc, or of CuPy's CUDA
        reason = str(error).strip().splitlines()[0]
        raise PipelineError(
            f"The GPU {gpu} cannot be used: {reason}. Get CuPy, for CUDA 12, "
            f"{how_to_install('cuda12x')}; or leave --gpu-id out."
        ) from error
