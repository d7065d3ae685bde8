"""Writes the latents that the repository holds (tests/data/sonicpi.i8, 133 clips) as an npz file of embeddings."""

import argparse
import json
import pathlib

import numpy as np

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=pathlib.Path, help="the folder tests/ of the repository")
    parser.add_argument("out", help="npz file to write")
    args = parser.parse_args()
    golden = json.loads((args.tests / "golden/heads.json").read_text(encoding="utf-8"))
    scale = np.array(golden["scale"], np.float32)
    rows = np.frombuffer((args.tests / "data/sonicpi.i8").read_bytes(), np.int8).reshape(len(golden["y"]), len(scale))
    # Each clip is one recording.
    np.savez(args.out, X=rows * scale, y=np.array(golden["y"]), names=np.array(golden["names"]), group=np.arange(len(rows)))
