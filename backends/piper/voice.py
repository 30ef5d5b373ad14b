"""A Piper model, loaded: phoneme ids in, sound at the model's own rate out."""

from collections.abc import Iterator

import numpy as np
import onnxruntime

from backends.piper.files import PiperFiles
from backends.piper.prepare import read_config
from backends.speech.item import Piece, SpeechItem
from backends.speech.voice import Spoken, Voice

_LOUDEST = 0.95


class PiperVoice(Voice):
    """One session for all speakers."""

    slowest, fastest = 0.5, 1.0  # hurried by itself it falls behind

    def __init__(self, files: PiperFiles, threads: int) -> None:
        """Raises ValueError for a file that is no model of Piper's."""
        self.sample_rate = files.sample_rate
        self._config = read_config(files)
        self._speakers = files.speakers
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Between two sentences the cores are others'.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(files.model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds, which have no base but Exception
            raise ValueError(f"{files.model}: no model of Piper's: {error}") from error
        self._takes_speaker = any(each.name == "sid" for each in self._session.get_inputs())

    def warm_up(self) -> None:
        ids = [id for ids in self._config.phoneme_id_map.values() for id in ids][:50]
        item = SpeechItem([Piece(ids=ids)], next(iter(self._speakers)), "", 1.0, "pcm")
        if not all(len(spoken.samples) for spoken in self.read(item, 1.0)):
            raise ValueError("the model makes no sound")

    def read(self, item: SpeechItem, speed: float) -> Iterator[Spoken]:
        for piece in item.pieces:
            (samples, *_) = self._session.run(None, self._inputs(piece, self._speakers[item.voice], speed))
            samples = np.asarray(samples, np.float32).reshape(-1)
            # The models know no full scale: what goes over it would be clipped.
            samples *= min(1.0, _LOUDEST / max(float(np.abs(samples).max(initial=0.0)), 1e-9))
            yield Spoken(samples, len(piece.ids), len(samples) // self._config.hop_length)

    def _inputs(self, piece: Piece, speaker: int, speed: float) -> dict[str, np.ndarray]:
        config = self._config
        scales = [config.noise_scale, config.length_scale / speed, config.noise_w_scale]
        inputs: dict[str, np.ndarray] = {
            "input": np.array([piece.ids], np.int64),
            "input_lengths": np.array([len(piece.ids)], np.int64),
            "scales": np.array(scales, np.float32),
        }
        if self._takes_speaker:
            inputs["sid"] = np.array([speaker], np.int64)
        return inputs
