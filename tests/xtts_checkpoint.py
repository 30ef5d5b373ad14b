"""Writes an XTTS checkpoint of random weights by the library's own classes: two layers, 64 wide, about 90 MB.

It says nothing, but it goes the way that the real one goes. Run by an interpreter that has coqui-tts:

    python -m tests.xtts_checkpoint FOLDER [--legacy]

--legacy: with settings as classes in it, as in the published one.
"""

import sys
from pathlib import Path
from typing import Any

LANGUAGES = ["en", "de", "fr", "ja", "zh-cn"]
WIDTH = 64
AUDIO_TOKENS = 24
"""Most in a sentence: random weights hardly ever draw the end."""


def main(folder: Path, legacy: bool) -> None:
    import torch
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
    from TTS.tts.models.xtts import Xtts, _legacy_safe_globals

    torch.manual_seed(1)
    folder.mkdir(parents=True, exist_ok=True)
    _write_vocabulary(folder / "vocab.json")
    config = _config(XttsConfig())
    model = Xtts(config)
    model.tokenizer = VoiceBpeTokenizer(vocab_file=str(folder / "vocab.json"))
    model.init_models()
    config.save_json(str(folder / "config.json"))
    if legacy:
        with _legacy_safe_globals():  # classes go by the names that they had when it was published
            torch.save({"model": model.state_dict(), "config": config}, folder / "model.pth")
    else:
        torch.save({"model": model.state_dict()}, folder / "model.pth")


def _config(config: Any) -> Any:
    arguments = config.model_args
    arguments.gpt_layers, arguments.gpt_n_heads, arguments.gpt_n_model_channels = 2, 2, WIDTH
    arguments.decoder_input_dim = WIDTH
    arguments.gpt_max_audio_tokens = AUDIO_TOKENS
    arguments.gpt_num_audio_tokens = 1026
    arguments.gpt_start_audio_token, arguments.gpt_stop_audio_token = 1024, 1025
    arguments.gpt_use_perceiver_resampler = True
    config.languages = LANGUAGES
    return config


def _write_vocabulary(file: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{language}]" for language in LANGUAGES)]
    letters = [*"abcdefghijklmnopqrstuvwxyzäöüßéèàç'.,!?-"]
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--legacy" in sys.argv)
