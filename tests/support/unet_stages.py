"""The number of stages of the tests' U-Nets: to train four takes 1.8 times as long as one."""

WHOLE = 4  # as users' U-Nets have


def set_stages(patched, stages):
    """Lets ``build_unet`` build so many stages down and up, until ``patched`` is undone.

    Args:
        patched: A ``pytest.MonkeyPatch``.
        stages: How many, 1 to ``WHOLE``. The bottleneck keeps its channels.
    """
    from kerascxr.models import unet

    patched.setattr(unet, "DEPTH", stages)
