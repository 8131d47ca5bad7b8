"""Settings shared by the tests."""

import warnings

import jax
from hypothesis import settings

jax.config.update("jax_enable_x64", True)
warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)

settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("suite")
