"""GGUF models over llama-cpp-python's low-level API, batched continuously.

Read in this order: backend (what the worker calls), prepare and template (a job becomes token ids), engine
(the step loop), planner (who takes part in a step), sequence, sampling and text (one generation), decoding
and batch, model and library (the C side). Importing this package loads no llama.cpp.

Each by itself: saved_states (with state_files and state_writer: what ended sequences leave behind), drafting,
ngrams and draft_model (guesses), speculation and step_costs (how much guessing pays), adapters (LoRA), and
pictures and sound: media_items (their bytes decoded), arrivals (jobs that wait for theirs), encoder,
projector (libmtmd) and media_prompt (where they stand in a prompt).
"""

from backends.llama_cpp.backend import LlamaCppBackend

__all__ = ["LlamaCppBackend"]
