"""How well models read inputs longer than those they were trained on."""
