"""Loads the networks of a folder and puts diffusers' pipelines around them. Imports torch: for engines only.

Each part is loaded as the class that stands here, never as one that the folder names, from safetensors alone;
nothing of the folder is run and nothing is downloaded.
"""

from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from backends.diffusion.folder import PipelineFacts, variant
from backends.torch_model import out_of_memory, read_model, use_threads
from config.parameters import DiffusionParameters

# It would say of processors that nothing here uses that torchvision would make them faster.
transformers_logging.set_verbosity_error()

import diffusers  # noqa: E402
from diffusers.utils import logging as diffusers_logging  # noqa: E402
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer  # noqa: E402

_CONVOLUTION = 4
"""Dimensions of its weights."""


class Pipelines(Struct, frozen=True):
    """Three ways to begin a picture, over one set of networks."""

    text: Any
    """For what begins as noise."""
    picture: Any
    """For what begins as a picture."""
    mask: Any
    """For what keeps a part of a picture."""


def load_pipelines(
    folder: Path, facts: PipelineFacts, parameters: DiffusionParameters, device: str, dtype: str
) -> Pipelines:
    """On `device`. Raises ValueError for files that are broken or not whole, OutOfMemory."""
    use_threads(parameters.n_threads)
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    with out_of_memory():
        text = _pipeline(folder, facts, dtype)
        if device == "cpu":
            _leave_files(text)
        if parameters.attention_slicing:
            text.enable_attention_slicing()
        if parameters.vae_tiling:
            text.vae.enable_tiling()
        if parameters.offload and device != "cpu":
            text.enable_model_cpu_offload(device=device)
        else:
            text.to(device)
    return Pipelines(
        text,
        diffusers.AutoPipelineForImage2Image.from_pipe(text),
        diffusers.AutoPipelineForInpainting.from_pipe(text),
    )


def _pipeline(folder: Path, facts: PipelineFacts, dtype: str) -> Any:
    half = dtype != "float32"
    vae_dtype = "float32" if dtype == "float16" and facts.upcasts_vae else dtype
    parts: dict[str, Any] = {
        "unet": _read(diffusers.UNet2DConditionModel, folder / "unet", dtype, half),
        "vae": _read(diffusers.AutoencoderKL, folder / "vae", vae_dtype, half),
        "scheduler": getattr(diffusers, facts.scheduler).from_pretrained(
            str(folder / "scheduler"), local_files_only=True
        ),
        "text_encoder": _encoder(CLIPTextModel, folder / "text_encoder", dtype, half),
        "tokenizer": _tokenizer(folder / "tokenizer"),
    }
    if facts.kind == "sd":
        return diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    return diffusers.StableDiffusionXLPipeline(
        **parts,
        text_encoder_2=_encoder(CLIPTextModelWithProjection, folder / "text_encoder_2", dtype, half),
        tokenizer_2=_tokenizer(folder / "tokenizer_2"),
        force_zeros_for_empty_prompt=facts.zero_negative,
        add_watermarker=False,
    )


def _leave_files(pipeline: Any) -> None:
    """Copy the weights that still lie in mapped files.

    Those of convolutions were copied when their format was changed. As long as one weight of a file is used
    where it lies, the pages of all of them count as the process's, those of the copied ones too: for Stable
    Diffusion 1.5 in float32 2.4 GB more than the weights are.
    """
    for network in (pipeline.unet, pipeline.vae):
        for weights in network.parameters():
            if weights.dim() != _CONVOLUTION:
                weights.data = weights.data.clone()


def _encoder(kind: Any, folder: Path, dtype: str, half: bool) -> Any:
    return read_model(kind, folder, dtype, variant=variant(folder, half=half)).eval()


def _read(kind: Any, folder: Path, dtype: str, half: bool) -> Any:
    """A network of diffusers. Raises ValueError."""
    try:
        model, found = kind.from_pretrained(
            str(folder),
            torch_dtype=getattr(torch, dtype),
            variant=variant(folder, half=half),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder}: {error}") from error
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{folder}: the files hold no weights for {', '.join(missing[:3])}")
    # Convolutions are faster on rows of pixels than on planes, on CPU and GPU alike.
    return model.to(memory_format=torch.channels_last).eval()


def _tokenizer(folder: Path) -> Any:
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
