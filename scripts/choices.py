"""Names that options take, known without importing the package; a test compares them with the package's."""

GLUE_TASKS = ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI", "AX")
GLUE_SPLITS = ("train", "valid", "test", "valid_mismatched", "test_mismatched")
LABELED_LOSSES = (
    "batch_all", "batch_hard", "batch_hard_soft_margin", "batch_semi_hard", "supervised_contrastive", "contrastive",
    "online_contrastive", "softmax", "cosine_similarity", "cosent", "multiple_negatives_ranking", "mega_batch_margin",
    "triplet", "denoising",
)  # fmt: skip
POOLINGS = ("bos", "mean", "max", "attention", "last")
SCALINGS = ("none", "linear", "ntk", "dynamic", "yarn")
MEMORY_VARIANTS = (
    "baseline", "mixed", "bf16", "fp16", "checkpoint", "accumulate4", "adam", "adafactor", "adamw_8bit", "lora",
)  # fmt: skip
DATASETS = ("wikitext-103", "wikitext-2", "enwik8", "text8", "shakespeare_char", "gpt2-bpe", "glue")
GPUS = ("v100", "a100-40gb", "a100", "h100", "h200", "l40s", "cpu")
ARCHITECTURES = (
    "causal_lm", "causal_lm_tiny", "causal_lm_small", "causal_lm_medium", "causal_lm_large", "causal_lm_xl", "char_lm",
    "char_lm_nano", "style_char_lm_nano", "char_lm_small", "style_char_lm_small", "char_lm_deep", "style_char_lm_deep",
    "clap_roberta", "clap_roberta_tiny", "clap_roberta_small", "clap_roberta_base", "clap_roberta_large",
)  # fmt: skip
