"""README's picture of a photograph's page: photograph.py PHOTOGRAPHS IMAGES.

PHOTOGRAPHS is the folder skimage/data of scikit-image, whose photographs may be shown (the astronaut is NASA's, in the
public domain). Weights of photographs are not to be had everywhere, so a small vision transformer is trained here on
crops, to say which of a dozen photographs they are of. Needs Chromium, as pictures.py does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import timm
import torch
from pictures import keep, screenshot
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2

from classlens import Lens
from classlens.look.gather import Gathered, page_of

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "galaxies": "hubble_deep_field.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "moon": "moon.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}
SHOWN = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")
ARCHITECTURE, SIDE = "vit_tiny_patch16_224", 192
OPTIONS = {"img_size": SIDE, "patch_size": 12, "embed_dim": 128, "depth": 8, "num_heads": 4}
STEPS, BATCH, RATE = 700, 48, 1e-3
VIEW = "image=2&site=residual&block=1&token=0&colour=class"
"""The astronaut after two blocks: [CLS] knows the class, most image tokens do not."""


def train(folder: Path) -> torch.nn.Module:
    """Return a model that knows the photographs from their crops."""
    torch.manual_seed(0)
    crop = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=(0.08, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    photographs = [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS.values()]
    model = timm.create_model(ARCHITECTURE, num_classes=len(photographs), **OPTIONS).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for step in range(STEPS):
        classes = torch.randint(len(photographs), (BATCH,))
        images = torch.stack([crop(photographs[index]) for index in classes])
        optimiser.zero_grad()
        logits = model(images)
        torch.nn.functional.cross_entropy(logits, classes).backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: {(logits.argmax(-1) == classes).float().mean():.0%} right", flush=True)
    return model.eval()


def main(folder: Path, images: Path) -> None:
    """Train, look at some photographs, and keep what a browser shows."""
    weights, page = Path("photograph.safetensors"), Path("photograph.html")
    if not weights.is_file():
        save_file(train(folder).state_dict(), weights)
    model = timm.create_model(ARCHITECTURE, num_classes=len(PHOTOGRAPHS), **OPTIONS).eval()
    model.load_state_dict(load_file(weights))
    lens = Lens(model, list(PHOTOGRAPHS))
    gathered = Gathered(lens, "a small ViT", {folder / name: name for name in SHOWN}, ["attn_lrp"])
    page.write_text(page_of(gathered, len(SHOWN)), encoding="utf-8", newline="\n")
    keep(screenshot(page, VIEW), images / "look.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
