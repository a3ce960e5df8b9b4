"""The results of an evaluation of styles as text: the main ones in five lines, all of them as tables."""

from collections.abc import Mapping, Sequence

from plugins.tables import markdown


def headline(result: Mapping) -> list[str]:
    """Return the main results in about five lines: the number to quote, the reason, and supporting results."""
    lines = [f"{result['checkpoint']}, styles: {', '.join(result['styles']) or 'none'}"]
    lines += _judged(result) if "judges" in result else _not_judged(result)
    if "cost" in result:
        costs = result["cost"].values()
        true, wrong = (_mean([cost.get(form) for cost in costs]) for form in ("true", "wrong_minus_true"))
        extra = "" if wrong is None else f"; a wrong style costs {wrong:+.3f}"
        lines.append(f"loss      {true:.3f} nats per character with the true style{extra} (means over styles)")
    elif "loss" in result:
        loss = result["loss"]
        lines.append(f"loss      {shown(loss['honest'])} nats per character, each predicted only from its prefix")
    if "head" in result:
        length, accuracy = list(result["head"]["accuracy"].items())[-1]
        lines.append(f"own head  {shown(accuracy)} of windows classified correctly after {length} characters")
    return lines


def _judged(result: Mapping) -> list[str]:
    window = str(result["options"]["window"]) if "options" in result else None
    svm, bayes = (result["judges"][name] for name in ("svm", "bayes"))
    condition = "given" if "given" in svm["transfer"] else "prompted"
    what = "style given" if condition == "given" else "prompt of the style"
    numbers = [judge["transfer"][condition]["nearest"]["success"] for judge in (svm, bayes)]
    real = svm["consistency"]["real"]["nearest_is_asked"]
    ceiling = next((score for length, score in real.items() if str(length) == window), list(real.values())[-1])
    chance = result["chance"]
    lines = [
        f"quote     {shown(numbers[0])} of generated windows are nearest to the requested style, {what} "
        f"(chance {chance:.2f}, real text {ceiling['mean']:.2f})",
        "why       the judge (SVM) is not the model, learned from other text, and must name a style: chance is 1/K",
    ]
    check = f"check     naive Bayes finds {shown(numbers[1])}"
    if "transfer" in svm["transfer"]:
        against = svm["transfer"]["transfer"]["nearest"]["success"]
        check += f"; against a prompt of another style {shown(against)} (SVM)"
    return [*lines, check]


def _not_judged(result: Mapping) -> list[str]:
    if result["sees_the_future"] and "loss" in result:
        loss = result["loss"]
        return [
            f"quote     honest loss {shown(loss['honest'])} nats per character; in one pass {shown(loss['one_pass'])}",
            "why       this model sees the text after a character, so its loss in one pass is not a likelihood",
            "check     no samples are judged: sampling has no later text",
        ]
    return ["quote     the loss: the text has fewer than two styles, so styles cannot be judged"]


def _mean(numbers: Sequence[Mapping | None]) -> float | None:
    means = [number["mean"] for number in numbers if number is not None]
    return sum(means) / len(means) if means else None


# Tables


def tables(result: Mapping) -> str:
    """Return the main numbers of a report as Markdown."""
    parts = [f"{result['checkpoint']}, styles: {', '.join(result['styles']) or 'none'}"]
    if "loss" in result:
        parts.append(_loss_table(result["loss"], result["sees_the_future"]))
    if result["sees_the_future"]:
        parts.append(
            "No samples are judged: this model was trained with later text in view, which sampling does not have."
        )
    if "head" in result:
        rows = result["head"]["accuracy"].items()
        parts.append(markdown(["the model's own head, after characters", "accuracy"], [[n, shown(v)] for n, v in rows]))
    if "cost" in result:
        forms = ("true", "inferred", "none", "wrong", "wrong_minus_true")
        lines = [[style, *(shown(cost.get(form)) for form in forms)] for style, cost in result["cost"].items()]
        parts.append(markdown(["nats per character, text of", *(form.replace("_", " ") for form in forms)], lines))
    for name, report in result.get("judges", {}).items():
        parts += _judge_tables(name, report, result["chance"])
    if "agreement" in result:
        lines = [[name, f"{v['share']:.3f}", f"{v['kappa']:.3f}"] for name, v in result["agreement"].items()]
        parts.append(markdown(["agreement of the judges on text that is", "share", "kappa"], lines))
    return "\n\n".join(parts) + "\n"


def _loss_table(loss: Mapping, leaks: bool) -> str:
    note = "not a likelihood: the model sees the future" if leaks else "the same, because the model is causal"
    lines = [
        [f"in one pass ({note})", shown(loss["one_pass"])],
        ["honest: each character predicted only from its prefix", shown(loss["honest"])],
        ["honest less one pass", shown(loss["gap"])],
    ]
    return markdown([f"loss, nats per character over {loss['tokens']:,}", ""], lines)


def _judge_tables(name: str, report: Mapping, chance: float) -> list[str]:
    lengths = list(report["accuracy"])
    lines = [["accuracy on unseen text", *(shown(report["accuracy"][n]) for n in lengths)]]
    for text, scores in report["consistency"].items():
        for kind, of_kind in scores.items():
            what = f"consistency of {text}, {kind.replace('_', ' ')}"
            lines.append([what, *(shown(of_kind[n]) for n in lengths)])
    head = [f"judge: {name}; chance {chance:.2f}; windows of", *lengths]
    made = [markdown(head, lines)]
    if report["transfer"]:
        rows = [
            [kind, *(shown(of_kind[over]) for of_kind in (of, of["nearest"]) for over in ("success", "over_seeds"))]
            for kind, of in report["transfer"].items()
        ]
        head = ["over texts", "over seeds", "nearest style, over texts", "over seeds"]
        made.append(markdown([f"judge: {name}; style reached (nearest: chance {chance:.2f})", *head], rows))
    return made


def shown(value: Mapping | None) -> str:
    """Return a mean with its standard error as text."""
    if value is None or not value["n"]:
        return ""
    return f"{value['mean']:.3f}" + (f" ± {value['standard_error']:.3f}" if value["n"] > 1 else "")
