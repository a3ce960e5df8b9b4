"""Predict the memory of training from the shape of a model and the options of a run.

The tensors that each operation saves for the backward pass are counted in the order of the code, like in section 4.1 of
Korthikanti et al., 2022 (arXiv 2205.05198). The values for CPUs are tested against torch's allocator; the values for
GPUs follow the documentation of the kernels.

Shapes: n tokens in a batch, N predictions, T tokens in a sequence; L layers of C channels, H heads and F feed-forward
channels; V words.
"""

from dataclasses import dataclass

from plugins.modules.linear_cross_entropy import NUMBERS, ROWS
from plugins.modules.scaled_dot_product import MOST_WRITTEN

from .models import Shape

FLOAT, HALF, MASK = 4, 2, 1  # bytes
NORMALIZED, PLAIN = 3, 2  # vectors per token saved by the embedding, with and without normalized rows
LARGEST_IN_ROW = 1.4  # maximum number of predictions in a sequence relative to the mean
STATES = {"fused_adamw": 8, "adam": 8, "adamw_8bit": 2, "adafactor": 0, "sgd": 0}  # bytes per parameter
STEP = {"adam": 2, "adafactor": 3}  # temporary tensors of the optimizer, in copies of the largest parameter


@dataclass(frozen=True)
class Run:
    """Options that determine the memory of a run.

    Attributes:
        tokens: n, tokens in one batch of one process.
        length: T.
        optimizer: a key of :data:`STATES`.
        precision: ``fp32``; ``mixed``: ``--mixed-precision bf16``; ``half``: ``--bf16`` or ``--fp16``;
            ``memory_efficient``: ``--memory-efficient-bf16`` or ``--memory-efficient-fp16``.
        gpu: whether GPU kernels are used.
        recompute: ``--checkpoint-activations``.
        accumulate: ``--update-freq`` above 1.
        processes: W.
        shard: ``--shard``.
    """

    tokens: int
    length: int
    optimizer: str = "fused_adamw"
    precision: str = "fp32"
    gpu: bool = False
    recompute: bool = False
    accumulate: bool = False
    processes: int = 1
    shard: bool = False


@dataclass(frozen=True)
class Memory:
    """Memory of one process, in bytes.

    Attributes:
        weights, gradients, optimizer: memory after an update.
        activations: memory at the start of the backward pass without weights and optimizer state: activations, the
            gradient of the output table, which the loss computes, and gradients of earlier batches of the update.
        peak: maximum memory.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    peak: float


def predict(shape: Shape, run: Run) -> Memory:
    """Predict the bytes of the tensors of a training process."""
    share = run.processes if run.shard else 1
    weights, gradients, states = (part / share for part in state_bytes(shape, run))
    layer, last, start, end, loss = stored(shape, run)
    inside = layer * (shape.layers - 1) + last
    if run.recompute:
        inside = shape.layers * inputs_of_layer(shape, run)
    kept = start + inside + end
    in_layer = gradients * shape.in_layers / max(1, shape.parameters)  # gradients of all layers
    table = gradients - in_layer if shape.trained > shape.parameters / 2 else 0.0
    before = gradients if run.accumulate else 0.0
    moments = [before + kept + loss + table]  # the loss and its backward pass
    one = in_layer / shape.layers
    again = layer - inputs_of_layer(shape, run) if run.recompute else 0.0
    for done in range(shape.layers):  # the backward pass of each layer, at its feed-forward net
        grads = before or table + one * (done + 1 / 3)
        rest = start + inside * (1 - done / shape.layers)
        moments.append(grads + rest + again + passing(shape, run))
    moments.append((before or gradients) + table)  # the embedding, whose gradient is added to that of the output
    moments.append(gradients + STEP.get(run.optimizer, 0) * FLOAT * shape.largest / share)
    extra = buffers(shape, run)
    remains = kept + table + FLOAT * run.tokens * shape.predicted * shape.width + before
    return Memory(weights, gradients, states, remains, weights + states + extra + max(moments))


def state_bytes(shape: Shape, run: Run) -> tuple[float, float, float]:
    """Return the bytes of weights, gradients and optimizer state; the latter includes float32 copies of the weights."""
    trained = shape.trained
    states = float(STATES[run.optimizer] * trained)
    if run.optimizer == "adamw_8bit":  # a byte per value, a float32 scale per 256; embeddings, vectors: float32
        states = shape.in_layers * (2 + 2 * FLOAT / 256) + 2 * FLOAT * max(0, trained - shape.in_layers)
    elif run.optimizer == "adafactor":
        states = float(FLOAT * shape.factored)
    if run.precision == "half":
        return HALF * shape.parameters, HALF * trained, states + 2 * FLOAT * trained
    if run.precision == "memory_efficient":
        return HALF * shape.parameters, HALF * trained, states
    return FLOAT * shape.parameters, FLOAT * trained, states


def stored(shape: Shape, run: Run) -> tuple[float, float, float, float, float]:
    """Return the bytes saved by the forward pass in a layer, the last layer, the embedding, the output and the loss."""
    n, c, f = run.tokens, shape.width, shape.inner
    low = FLOAT if run.precision == "fp32" else HALF  # products, their inputs and outputs
    high = FLOAT if run.precision in ("fp32", "mixed") else HALF  # the residual stream
    mask = MASK if run.gpu else high
    # Two inputs of layer norms; two outputs; q, k, v and the attention's output; the activation's input and output.
    rest = 2 * high * c + 2 * low * c + (4 + shape.rotary) * low * c + 2 * low * f
    if shape.frozen:  # products with frozen weights do not keep their input
        rest -= low * (f + c)
    drops = 2 * mask * c * (shape.dropout > 0) + mask * f * (shape.activation_dropout > 0)
    written = low == HALF and run.length <= MOST_WRITTEN  # attention without a fused kernel, on CPUs
    copies = 0 if run.gpu else 3 if shape.attention_dropout else int(written)
    scores = copies * low * shape.heads * run.length
    styles = 2 * high * c * shape.styled
    layer = n * (rest + drops + scores + styles)
    last = layer
    if not shape.causal:  # the last layer computes only the predicted positions
        p, most = shape.predicted, min(1.0, LARGEST_IN_ROW * shape.predicted)
        last = n * (high * c + 2 * low * c + most * (3 * low * c + scores))
        last += n * p * (3 * high * c + 2 * low * f + drops)
    start, end = n * mask * c * (shape.dropout > 0), n * 2 * high * c  # the last layer norm's input and output
    if not shape.causal:
        start, end = start + n * high * c * (NORMALIZED if shape.clap else PLAIN), 0.0
    return layer, last, start, end, loss_bytes(shape, n * shape.predicted, low)


def loss_bytes(shape: Shape, predictions: float, low: int) -> float:
    """Return the bytes of the loss, without the table's gradient; see :mod:`plugins.modules.linear_cross_entropy`."""
    rows = min(predictions, ROWS, NUMBERS // shape.words)
    logits = FLOAT * rows * shape.words
    if low == HALF:
        logits += HALF * rows * shape.words + HALF * shape.words * shape.width * (rows < predictions)
    return logits + 4 * FLOAT * predictions * shape.width


def inputs_of_layer(shape: Shape, run: Run) -> float:
    """Return the bytes of the input of a layer, which is all that a recomputed layer saves."""
    return run.tokens * shape.width * (HALF if run.precision in ("half", "memory_efficient") else FLOAT)


def passing(shape: Shape, run: Run) -> float:
    """Return the bytes of the gradients of activations within the backward pass of a layer."""
    return run.tokens * (shape.inner + shape.width) * (FLOAT if run.precision == "fp32" else HALF)


def buffers(shape: Shape, run: Run) -> float:
    """Return the bytes of bfloat16 weights, gradient buckets, and gathered parameters of sharded training."""
    extra = HALF * shape.in_layers if run.precision == "mixed" else 0.0
    if run.processes == 1:
        return extra
    if run.shard:
        whole = shape.parameters - shape.in_layers + 2 * shape.in_layers / shape.layers  # the next one is prefetched
        return extra / run.processes + 2 * FLOAT * whole
    return extra + FLOAT * shape.trained
