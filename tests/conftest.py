"""Settings shared by the tests."""

import warnings

import jax
from hypothesis import settings

jax.config.update("jax_enable_x64", True)
# what one worker, or a run before, has compiled is not compiled again: half the time of the suite
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)

settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("suite")


def pytest_configure(config):
    if getattr(config, "cache", None) is not None:
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
