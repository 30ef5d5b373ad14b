"""What libmtmd's own helper answers, one prompt at a time: the measure of the engine's answers."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.library import C, load_mtmd
from backends.llama_cpp.model import Model, open_model


class Reference:
    """A model and its projector without any of our engine."""

    def __init__(self, model: Path, projector: Path) -> None:
        self._m = load_mtmd()
        self._model: Model = open_model(model)
        params = self._m.mtmd_context_params_default()
        params.use_gpu, params.n_threads, params.print_timings = False, 1, False
        self._projector = self._m.mtmd_init_from_file(str(projector).encode(), self._model.handle, params)
        assert self._projector

    def close(self) -> None:
        self._m.mtmd_free(self._projector)
        self._model.close()

    def answer(self, prompt: str, shown: NDArray[Any], count: int) -> tuple[int, list[int]]:
        """Tokens of the prompt, and `count` of the answer: the likeliest each that does not end it.

        `shown`: pixels or samples; the prompt has `<__media__>` where they stand.
        """
        context = self._context()
        try:
            tokens, position = self._evaluate(context, prompt, shown)
            return tokens, [self._next(context, position + step) for step in range(count)]
        finally:
            C.llama_free(context)

    def _context(self) -> Any:
        params = C.llama_context_default_params()
        params.n_ctx, params.n_batch = 2048, 2048
        params.n_threads = params.n_threads_batch = 1
        params.type_k = 30  # as the engine has it on a CPU
        return C.llama_init_from_model(self._model.handle, params)

    def _evaluate(self, context: Any, prompt: str, shown: NDArray[Any]) -> tuple[int, int]:
        m = self._m
        if shown.ndim == 1:
            samples = shown.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            bitmap = m.mtmd_bitmap_init_from_audio(len(shown), samples)
        else:
            pixels = shown.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
            bitmap = m.mtmd_bitmap_init(shown.shape[1], shown.shape[0], pixels)
        data = prompt.encode()
        text = m.mtmd_input_text(data, len(data), True, True)
        chunks = m.mtmd_input_chunks_init()
        end = C.llama_pos(0)
        try:
            bitmaps = (ctypes.c_void_p * 1)(bitmap)
            assert m.mtmd_tokenize(self._projector, chunks, ctypes.byref(text), bitmaps, 1) == 0
            args = (self._projector, context, chunks, 0, 0, 2048, True, ctypes.byref(end))
            assert m.mtmd_helper_eval_chunks(*args) == 0
            return int(m.mtmd_helper_get_n_tokens(chunks)), end.value
        finally:
            m.mtmd_input_chunks_free(chunks)
            m.mtmd_bitmap_free(bitmap)

    def _next(self, context: Any, position: int) -> int:
        """The likeliest token, which is then decoded."""
        logits = np.ctypeslib.as_array(C.llama_get_logits_ith(context, -1), (self._model.vocabulary.size,))
        logits[list(self._model.vocabulary.end_tokens())] = -np.inf
        token = int(logits.argmax())
        tokens = (ctypes.c_int32 * 1)(token)
        batch = C.llama_batch_get_one(tokens, 1)
        place = (ctypes.c_int32 * 1)(position)
        batch.pos = ctypes.cast(place, type(batch.pos))
        assert C.llama_decode(context, batch) == 0
        return token
