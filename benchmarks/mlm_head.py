"""Time and memory of the heads with their loss, forward and backward, as they are trained, on the same features.

The peer is the head of fairseq's own RoBERTa with the loss that fairseq's ``masked_lm`` takes of its logits; CLAP's
head, and our form of RoBERTa's, take their loss by blocks of words. The ratio is taken pair by pair in one process:
above 1, ours is faster, or smaller. Memory is the peak above that of the imports, the table and its gradient included.

    python benchmarks/mlm_head.py --repeats 9
"""

import argparse
import json
import subprocess
import sys

SHAPES = {"tiny": (614, 128, 8000), "base": (307, 768, 50265), "base, 4,096 tokens": (614, 768, 50265)}  # N, C, V
HEADS = ("fairseq", "clap", "roberta")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def worker(head, shape):
    """Return a function that goes forward and backward through a head once."""
    import torch
    from fairseq import modules
    from fairseq.models.roberta.model import RobertaLMHead

    from plugins.modules.clap_head import ClapHead, RobertaHead

    predictions, width, words = SHAPES[shape]
    torch.manual_seed(1)
    table = torch.nn.Parameter(torch.randn(words, width).mul_(0.02))
    module = {
        "fairseq": lambda: RobertaLMHead(width, words, "gelu", table),
        "clap": lambda: ClapHead(table),
        "roberta": lambda: RobertaHead(table, torch.nn.functional.gelu),
    }[head]()
    features = torch.randn(predictions, width, requires_grad=True)
    target = torch.randint(0, words, (predictions,))

    def work():
        module.zero_grad()
        if head == "fairseq":
            loss = modules.cross_entropy(module(features), target, reduction="sum", ignore_index=1)
        else:
            loss = module.cross_entropy(features, target)
        loss.backward()

    return work


def peak_memory(head, shape):
    """Return the peak memory in MB of three passes in a process of their own, above that of the imports."""
    command = [sys.executable, __file__, "--memory-of", head, shape]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure_memory(head, shape):
    from fairseq.models.roberta.model import RobertaLMHead  # noqa: F401  (so that it counts as an import)
    from measure import peak_memory_of_process

    idle = peak_memory_of_process()
    work = worker(head, shape)
    for _ in range(3):
        work()
    return peak_memory_of_process() - idle


def main():
    args = parse()
    if args.memory_of:
        print(json.dumps(measure_memory(*args.memory_of)))
        return
    from measure import interleaved, ratios, save, summary, times

    rows = []
    for shape in SHAPES:
        seconds = interleaved({head: worker(head, shape) for head in HEADS}, args.repeats)
        memory = {head: peak_memory(head, shape) for head in HEADS}
        for head in HEADS:
            speedup = summary(ratios(seconds["fairseq"], seconds[head]))
            rows.append(
                {"shape": shape, "head": head, "seconds": summary(seconds[head]), "speedup": speedup}
                | {"memory_mb": memory[head]}
            )
            print(
                f"{shape:19} {head:8} {rows[-1]['seconds']['median'] * 1e3:8.1f} ms  {times(speedup)}   "
                f"{memory[head]:6.0f} MB  x {memory['fairseq'] / memory[head]:.2f}",
                flush=True,
            )
    if args.save:
        print("written:", save(args.save, {"command": " ".join(sys.argv), "rows": rows}))


if __name__ == "__main__":
    main()
