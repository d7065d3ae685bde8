"""Makes the small sound files of the decode tests with libsndfile, an encoder apart from the decoder that is tested.

    pip install soundfile==0.13.1 numpy && python make_sounds.py

Each holds 0.25 s of two channels at 22050 Hz: 0.5 sin(2 pi 440 t) on the left, 0.25 sin(2 pi 440 t) on the right, so
that their average is 0.375 sin(2 pi 440 t).
"""

import pathlib

import numpy as np
import soundfile

HERE = pathlib.Path(__file__).resolve().parent
RATE_HZ, SAMPLES = 22050, 5512

t = np.arange(SAMPLES) / RATE_HZ
tone = np.sin(2 * np.pi * 440 * t)
stereo = np.stack([0.5 * tone, 0.25 * tone], axis=1)
for name, kind, subtype in [
    ("tone.flac", "FLAC", "PCM_16"),
    ("tone.ogg", "OGG", "VORBIS"),
    ("tone.mp3", "MP3", "MPEG_LAYER_III"),
    ("tone.aiff", "AIFF", "PCM_16"),
]:
    soundfile.write(HERE / name, stereo, RATE_HZ, format=kind, subtype=subtype)
