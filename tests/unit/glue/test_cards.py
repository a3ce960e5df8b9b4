"""Model cards with the fields that Hugging Face users expect."""

from plugins.glue import cards


def test_speeds_under_hugging_faces_names():
    split = {"accuracy": 0.5, "loss": 0.7, "samples": 130, "runtime": 2.0}  # three batches of at most 64
    result = {"epochs": 2, "train_loss": 0.6, "train_seconds": 5.0, "train_samples": 100, "updates": 14,
              "valid": {"valid": split, "valid_mismatched": split | {"runtime": 1.0}}}  # fmt: skip
    found = cards.hugging_face_results(result)
    assert found["train"]["train_samples_per_second"] == 40
    assert found["eval"]["eval_samples_per_second"] == 65
    assert (found["eval"]["eval_steps_per_second"], found["all"]["eval_steps_per_second_mm"]) == (1.5, 3)
