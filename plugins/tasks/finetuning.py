"""What a task does to a model between building it and loading the checkpoint that fine-tuning starts from."""


def start_afresh(model, prefixes):
    """Keep the initial values of some parameters when a checkpoint is loaded for the first time."""

    pending = list(prefixes)

    def hook(module, state_dict, prefix, *unused):
        own = module.state_dict() if pending else {}
        for name in own:
            if name.startswith(tuple(pending)):
                state_dict[prefix + name] = own[name].detach().clone()
        pending.clear()

    model.register_load_state_dict_pre_hook(hook)


def scale_learning_rates(model, decay):
    """Mark each parameter with the share of the learning rate that it gets: decay ** (layers above it).

    The embeddings count as the layer below the first; the head has the full rate (Howard and Ruder, 2018; Clark et al.,
    2020, ELECTRA).
    """
    if decay == 1:
        return
    encoder = model.encoder.sentence_encoder
    depth = len(encoder.layers)
    for parameter in encoder.parameters():
        parameter.lr_scale = decay ** (depth + 1)
    for i, layer in enumerate(encoder.layers):
        for parameter in layer.parameters():
            parameter.lr_scale = decay ** (depth - i)
