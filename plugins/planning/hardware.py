"""Data sheet values of GPUs."""

from dataclasses import dataclass

from plugins.errors import UserError

IN_A_NODE = 8  # GPUs connected by NVLink


@dataclass(frozen=True)
class Gpu:
    """Performance of a GPU.

    Attributes:
        flops: dense FLOP/s of matrix products in bfloat16 (V100: float16).
        memory: bytes.
        link: bandwidth to the other GPUs of a machine, bytes/s one way.
        network: bandwidth per GPU to other machines, bytes/s one way, as in the vendor's own systems.
    """

    flops: float
    memory: float
    link: float
    network: float


GPUS = {  # NVIDIA's data sheets; networks of DGX-1 (4 x 100 Gb/s), DGX A100 (8 x 200 Gb/s), DGX H100 (8 x 400 Gb/s)
    "v100": Gpu(125e12, 32e9, 150e9, 6.25e9),
    "a100-40gb": Gpu(312e12, 40e9, 300e9, 25e9),
    "a100": Gpu(312e12, 80e9, 300e9, 25e9),
    "h100": Gpu(989e12, 80e9, 450e9, 50e9),
    "h200": Gpu(989e12, 141e9, 450e9, 50e9),
    "l40s": Gpu(362e12, 48e9, 32e9, 12.5e9),
}


def find(name: str) -> Gpu:
    """Return the performance of a GPU by name.

    Raises:
        UserError: the name is unknown.
    """
    if name.lower() not in GPUS:
        raise UserError(f"--gpu {name}: the choices are {', '.join(GPUS)}, cpu")
    return GPUS[name.lower()]
