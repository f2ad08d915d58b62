"""`classlens look`, against start-up, one forward pass, and norm and head at every site: ViT-B/16 and 12 pictures.

    python benchmarks/look.py [--turns 3] [--clock cpu]

Both are processes of their own, in turns, with the same random weights from the same file. The bare one imports torch
and timm, builds the model, reads weights and pictures, and projects every token of every site onto the classes; it
writes nothing. `look` besides ranks classes, packs, and writes the page.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

ARCHITECTURE = "vit_base_patch16_224"
WANTED, MOST_MEGABYTES = 1.3, 3.0
BARE = """
import sys
from pathlib import Path
import timm, torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
model = timm.create_model(sys.argv[1]).eval()
model.load_state_dict(torch.load(sys.argv[2], weights_only=True))
transform = create_transform(**resolve_model_data_config(model))
images = torch.stack([transform(Image.open(path).convert("RGB")) for path in sorted(Path(sys.argv[3]).iterdir())])
sites = []
for block in model.blocks:
    for part in (block, block.drop_path1, block.drop_path2):
        part.register_forward_hook(lambda _module, _inputs, output: sites.append(output))
with torch.inference_mode():
    model(images)
    for tokens in sites:
        model.head(model.norm(tokens))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--pictures", type=int, default=12)
    options.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu where other work shares the machine"
    )
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        weights, pictures, page = (Path(name) / part for part in ("vit.pth", "pictures", "look.html"))
        torch.save(timm.create_model(ARCHITECTURE).state_dict(), weights)
        make_pictures(pictures, given.pictures)
        look = ["-m", "classlens", "look", weights, pictures, "--architecture", ARCHITECTURE, "--no-open", "-o", page]
        commands = {"bare": ["-c", BARE, ARCHITECTURE, weights, pictures], "look": look}
        seconds: dict[str, list[float]] = {which: [] for which in commands}
        for turn in range(given.turns):
            for which, command in commands.items():
                seconds[which].append(spent([sys.executable, *map(str, command)], given.clock))
            print(f"turn {turn + 1}: " + ", ".join(f"{which} {found[-1]:.1f} s" for which, found in seconds.items()))
        bare, looked = (statistics.median(found) for found in seconds.values())
        size = page.stat().st_size / 1e6
    print(f"bare {bare:.1f} s, look {looked:.1f} s ({given.clock}): {looked / bare:.2f} x; at most {WANTED} x wanted")
    print(f"page of {given.pictures} pictures: {size:.1f} MB; at most {MOST_MEGABYTES} MB wanted for 12")


def spent(command: list[str], clock: str) -> float:
    """Return the seconds that a command takes, by the wall's clock or its processor's."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "2"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu if clock == "cpu" else time.perf_counter() - began


def make_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    random, sample = np.random.default_rng(0), load_sample_images().images
    for place in range(count):
        photo = sample[place % len(sample)]
        top, left = (random.integers(size - part) for size, part in zip(photo.shape, (300, 400), strict=False))
        Image.fromarray(photo[top : top + 300, left : left + 400]).save(folder / f"{place:02}.jpg")


if __name__ == "__main__":
    main()
