"""Random numbers of forked workers: generators that the servable left to chance differ from worker to worker, as they would
between workers that were started; those that it seeded itself go on in each from where it left them.

`watch()` comes before the servable is loaded, `note()` after, both in the zygote; `renew()` in each worker.
"""

import gc
import random
import secrets
import sys
import weakref

TORCH_SEED_BITS = 32  # torch draws one of 53 bits for itself; people and their programs take smaller ones
NUMPY_BITS = 128  # that a SeedSequence of numpy draws for itself

_seeded = weakref.WeakSet()  # the random.Random that somebody has seeded
_drawn = set()  # the seeds that numpy drew
_main_state = None  # of the module's own generator, which os.fork() seeds anew, where somebody has seeded it
_fresh = []  # the random.Random that nobody has seeded
_fresh_numpy = []  # numpy's bit generators likewise


def watch():
    """Tells from here on who seeds what."""
    set_seed, set_state, draw = random.Random.seed, random.Random.setstate, secrets.randbits

    def seed(self, a=None, version=2):
        set_seed(self, a, version)
        (_seeded.discard if a is None else _seeded.add)(self)

    def setstate(self, state):
        set_state(self, state)
        _seeded.add(self)

    def randbits(k):
        value = draw(k)
        if k == NUMPY_BITS:
            _drawn.add(value)
        return value

    random.Random.seed, random.Random.setstate = seed, setstate
    random.seed, random.setstate = random._inst.seed, random._inst.setstate
    secrets.randbits = randbits  # before numpy takes it over


def _is_drawn(generator):
    sequence = getattr(generator, "seed_seq", None) or getattr(generator, "_seed_seq", None)
    return getattr(sequence, "entropy", None) in _drawn


def note():
    global _main_state, _fresh, _fresh_numpy
    _main_state = random.getstate() if random._inst in _seeded else None
    objects = gc.get_objects()
    _fresh = [
        one
        for one in objects
        if isinstance(one, random.Random) and not isinstance(one, random.SystemRandom) and one not in _seeded
    ]
    module = sys.modules.get("numpy.random.bit_generator")
    if module:
        _fresh_numpy = [one for one in objects if isinstance(one, module.BitGenerator) and _is_drawn(one)]


def renew():
    for generator in _fresh:
        generator.seed()
    if _main_state is not None:
        random.setstate(_main_state)
    for generator in _fresh_numpy:
        generator.state = type(generator)().state
    torch = sys.modules.get("torch")
    if torch and torch.initial_seed() >> TORCH_SEED_BITS:
        torch.seed()
