"""A hand-built report, without a model, whose numbers are known."""

import numpy as np

LINE = "The river carries a letter; the window watches a machine, a star"  # 64 characters


def attention(layers=12, heads=12, tokens=64):
    """Return weights (L, H, T, T): head 0 of layer 0 attends to the previous token, head 1 uniformly, others randomly.

    The first token, which has no previous one, attends to itself.
    """
    draw = np.random.default_rng(0)
    scores = 4 * draw.standard_normal((layers, heads, tokens, tokens))
    weights = np.exp(scores) * np.tri(tokens)
    weights[0, 0] = np.eye(tokens, k=-1)
    weights[0, 0, 0, 0] = 1
    if heads > 1:
        weights[0, 1] = np.tri(tokens)
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def report(tokens=LINE, layers=12, heads=12, **parts):
    """Return what :func:`plugins.analysis.report.page.render` takes; parts replace those here, None leaves one out."""
    tokens = list(tokens)
    score = np.linspace(-0.1, 0.8, layers * heads).round(3).tolist()
    slots = [
        {"truth": "river", "answers": [["sea", 0.5], ["river", 0.25], ["hill", 0.125], ["star", 0.0625], [" ", 0.01]]},
        {
            "truth": "letter",
            "answers": [["letter", 0.75], ["song", 0.1], ["ship", 0.05], ["name", 0.02], ["tax", 0.01]],
        },
    ]
    report = {
        "title": "known numbers",
        "lead": "12 layers of 12 heads",
        "model": {"card": [{"name": "Architecture", "facts": [["Layers", str(layers)]]}], "options": [["seed", "1"]]},
        "attention": {"tokens": tokens, "weights": attention(layers, heads, len(tokens))},
        "patterns": {
            "note": "Of no text.", "layers": layers, "heads": heads,
            "items": [{"title": "Previous token", "what": "Looks before.", "score": score, "best": len(score) - 1,
                       "most": f"Layer {layers - 1}, head {heads - 1}: 0.80 [0.75, 0.85]"}],
        },
        "predictions": {
            "note": "Of no text.", "tokens": list("abc"), "bits": [None, 2.0, 5.0], "truth": [None, 0.25, 0.03125],
            "choices": [[], [["b", 0.25], ["c", 0.125]], [["a", 0.04], ["b", 0.03]]],
        },
        "styles": {
            "names": ["drama", "novel"], "tokens": list("abc"), "probabilities": [[0.5, 0.5], [0.9, 0.1], [0, 1]],
        },
        "masks": [{"pieces": ["The ", {"slot": 0}, " carries a ", {"slot": 1}, "."], "slots": slots}],
        "samples": {
            "note": "Two styles.", "prompt": "Once", "temperatures": ["0.5", "1"], "styles": ["inferred", "drama"],
            "texts": [[" cold", " warm"], [" cold drama", " warm drama"]], "chosen": 1,
        },
    }  # fmt: skip
    return report | parts
