"""What a new worker is told first."""

from backends.protocol import DeviceShare, Load
from config.schema import TimeoutsConfig
from gateway.engine.placement import Share
from gateway.weights.located import Located


def load_message(located: Located, timeouts: TimeoutsConfig, device: str, shares: tuple[Share, ...]) -> Load:
    """`shares`: empty unless the model is split over several devices."""
    whole = sum(share.memory_bytes for share in shares)
    return Load(
        located.spec,
        str(located.weights),
        device,
        timeouts.prepare_s,
        timeouts.media_prepare_s,
        [DeviceShare(share.device, share.memory_bytes / whole) for share in shares],
    )
