import io

import pytest
from PIL import Image

from backends.diffusion.encoding import encode
from backends.protocol import PictureFormat

NOISE = Image.effect_noise((64, 48), 90).convert("RGB")


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_every_format_holds_the_picture_and_nothing_else(form: PictureFormat) -> None:
    NOISE.info["comment"] = "a secret"
    data = encode(NOISE, form, -1)
    with Image.open(io.BytesIO(data)) as read:
        assert (read.format, read.size) == (form.upper(), (64, 48))
        assert not set(read.info) - {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "loop",
            "background",
        }
    assert b"secret" not in data


def test_compression_is_quality() -> None:
    assert len(encode(NOISE, "jpeg", 10)) < len(encode(NOISE, "jpeg", 95))
    assert len(encode(NOISE, "webp", 10)) < len(encode(NOISE, "webp", 95))
