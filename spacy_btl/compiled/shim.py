"""What a compiled encoder saves: the network and its tokenizer."""

from typing import Any

import srsly
from thinc.api import Shim

from spacy_btl.compiled.engine import Network
from spacy_btl.errors import PipelineError
from spacy_btl.models.wordpieces import WordpieceTokenizer

CANNOT_TRAIN = (
    "A compiled pipeline cannot be trained. Train the pipeline that it was made of, and compile it "
    "again with `python -m spacy btl compile`."
)


class CompiledShim(Shim):
    """Holds a compiled encoder: nothing until `hold` or `from_bytes`.

    network (Optional[Network]): What the engine runs.
    tokenizer (WordpieceTokenizer): That of the encoder.
    """

    network: Network | None = None
    tokenizer: WordpieceTokenizer

    def __init__(self) -> None:
        super().__init__(None)

    def hold(self, network: Network, tokenizer: WordpieceTokenizer) -> None:
        """Hold an encoder."""
        self.network, self.tokenizer = network, tokenizer

    def finish_update(self, optimizer: Any) -> None:
        """There is nothing to update."""

    def to_device(self, device_type: str, device_id: int) -> None:
        """It always runs on the CPU."""

    def to_bytes(self) -> bytes:
        """As msgpack."""
        network = self.network
        if network is None:
            return srsly.msgpack_dumps({})
        return srsly.msgpack_dumps(
            {
                "graph": network.graph,
                "weights": bytes(network.weights),
                "precision": network.precision,
                "width": network.width,
                "tokenizer": self.tokenizer.to_dict(),
            }
        )

    def from_bytes(self, data: bytes) -> "CompiledShim":
        """RAISES: PipelineError, for bytes that `to_bytes` cannot have written."""
        try:
            saved = srsly.msgpack_loads(data)
            if saved:
                tokenizer = WordpieceTokenizer.from_dict(saved["tokenizer"])
                weights = bytearray(saved["weights"])
                network = Network(saved["graph"], weights, saved["precision"], saved["width"])
                self.hold(network, tokenizer)
        except Exception as error:  # msgpack and tokenizers each have their own
            raise PipelineError(
                "The saved encoder cannot be loaded: it is damaged, or of another version of "
                f"spacy-btl ({type(error).__name__}). Compile the pipeline again."
            ) from error
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"cfg": self.cfg, "id": self.id, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.cfg, self.id = state["cfg"], state["id"]
        self.from_bytes(state["bytes"])
