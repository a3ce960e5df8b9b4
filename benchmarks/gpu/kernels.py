"""The matrix products of this device, and what each way of computing ALiBi attention costs."""

from collections.abc import Callable

import measure
import torch
import torch.nn.functional as F
from torch import Tensor

HEADS, CHANNELS = 12, 64
LENGTHS = {512: 128, 2048: 32}  # tokens: sequences
TINY = {64: 2}


def ceiling(table):
    """Measure products of square matrices: bfloat16, and float32 with and without TF32."""
    size = 256 if table.tiny else 8192
    table.ceiling = measure.matrix_rate(table.device, torch.bfloat16, size)
    table.add("ceiling", type="bfloat16", tflops=table.ceiling / 1e12)
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        table.add("ceiling", type=f"float32, {precision}", tflops=measure.matrix_rate(table.device, size=size) / 1e12)
    torch.set_float32_matmul_precision("highest")


def attention(table):
    """Measure forward and backward of attention in bfloat16, and its error against float64."""
    for length, sequences in (TINY if table.tiny else LENGTHS).items():
        shape = (sequences, HEADS, length, CHANNELS)
        torch.manual_seed(0)
        q, k, v = (torch.randn(shape, device=table.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
        flops = 3.5 * 4 * sequences * HEADS * length * length * CHANNELS  # backward: 2.5 of forward
        for name, attend in ways(length, sequences, table.device).items():
            if table.out_of_time("attention", tokens=length, way=name):
                continue
            with table.row("attention", tokens=length, way=name):
                run = backward_of(attend, q, k, v)
                seconds = table.seconds(run)
                error = error_of(attend, q, k, v) if "ALiBi" in name and "dropout" not in name else ""
                table.add(
                    "attention", holds=error == "" or error < 1e-2, tokens=length, way=name, ms=seconds * 1e3,
                    tflops=flops / seconds / 1e12, error=error,
                )  # fmt: skip


def backward_of(attend: Callable, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], None]:
    upstream = torch.randn_like(q)

    def run():
        q.grad = k.grad = v.grad = None
        attend(q, k, v).backward(upstream)

    return run


@torch.no_grad()
def error_of(attend: Callable, q: Tensor, k: Tensor, v: Tensor) -> float:
    """Return the relative error of the first sequence's output against explicit attention in float64."""
    exact = (q[:1].double() @ k[:1].double().transpose(-1, -2)) / CHANNELS**0.5 + alibi_bias(q.size(2), q.device)
    exact = exact.softmax(-1) @ v[:1].double()
    return float((attend(q, k, v)[:1].double() - exact).norm() / exact.norm())


def alibi_bias(length: int, device: str | torch.device) -> Tensor:
    """Return the encoder's ALiBi bias, half a slope nearer on the right, in float64: (1, H, T, T)."""
    from plugins.modules.alibi import alibi_slopes

    position = torch.arange(length, device=device, dtype=torch.float64)
    distance = position - position[:, None]  # key - query
    # Four dimensions, as in a model: with three, torch would take a slower kernel.
    return -alibi_slopes(HEADS).double().to(device)[:, None, None] * (distance.abs() - 0.5 * (distance > 0))[None, None]


def ways(length: int, sequences: int, device: str) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Return {name: attention of (B, H, T, D)}."""
    from plugins.modules.scaled_dot_product import attend

    bias32 = alibi_bias(length, device).float()
    bias16 = bias32.bfloat16()
    padding = torch.zeros(sequences, length, dtype=torch.bool, device=device)
    padding[1::2, -length // 8 :] = True
    sdpa = F.scaled_dot_product_attention
    found = {
        "no bias": sdpa,
        "no bias, dropout 0.1": lambda q, k, v: sdpa(q, k, v, dropout_p=0.1),
        "ours, ALiBi": lambda q, k, v: attend(q, k, v, bias16, None),
        "ours, ALiBi, padded": lambda q, k, v: attend(q, k, v, bias16, padding),
        "ours, ALiBi, dropout 0.1": lambda q, k, v: attend(q, k, v, bias16, None, 0.1),
        "ours, ALiBi in float32": lambda q, k, v: attend(q, k, v, bias32, None),
    }
    if device == "cuda":
        from plugins.modules import flex
        from plugins.modules.alibi import alibi_slopes

        bias = flex.KernelBias(alibi_slopes(HEADS).to(device), symmetric=False, near_bos=False)
        found["flex, ALiBi"] = lambda q, k, v: flex.attend(q, k, v, bias, None)
        found["flex, ALiBi, padded"] = lambda q, k, v: flex.attend(q, k, v, bias, padding)
    return found


def loss(table):
    """Measure the time of a head's loss and gradients, and its peak memory beside inputs and gradients."""
    from plugins.modules.linear_cross_entropy import linear_cross_entropy

    count, words, width = (64, 300, 32) if table.tiny else (131072, 50257, 768)
    for name, dtype, normalize in (("linear", torch.bfloat16, False), ("CLAP", torch.float32, True)):
        with table.row("loss", head=name):
            torch.manual_seed(0)
            x = torch.randn(count, width, device=table.device, dtype=torch.bfloat16, requires_grad=True)
            weight = (0.02 * torch.randn(words, width, device=table.device)).to(dtype).requires_grad_()
            target = torch.randint(words, (count,), device=table.device)

            def run(x=x, weight=weight, target=target, normalize=normalize):
                with torch.autocast(table.device, torch.bfloat16):
                    linear_cross_entropy(x, weight, target, normalize=normalize).backward()

            run()
            beside = float("nan")
            if table.device == "cuda":
                gradients = sum(t.grad.nbytes for t in (x, weight))
                x.grad = weight.grad = None
                before = torch.cuda.memory_allocated()
                torch.cuda.reset_peak_memory_stats()
                run()
                beside = (torch.cuda.max_memory_allocated() - before - gradients) / 1e9
            seconds = table.seconds(run, repeats=5, warmup=1)
            rate = 6 * count * words * width / seconds
            table.add(
                "loss", not beside >= 1, head=name, predictions=count, words=words, ms=seconds * 1e3,
                tflops=rate / 1e12, of_ceiling=rate / table.ceiling, peak_GB_beside=beside,
            )  # fmt: skip
