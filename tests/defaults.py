"""Default values that users rely on: of flags, of architectures, and of the parameters of the Python interface."""

import argparse
import importlib
import inspect
import pkgutil

# All modules of these; of plugins.hub, __all__.
PACKAGES = ("plugins.modules", "plugins.diagnostics", "plugins.embeddings", "plugins.planning")


def of_flags(classes):
    """Return {kind and name: {flag: default}} of registered classes.

    Args:
        classes: {kind: {name: class}}.
    """
    found = {}
    for kind in ("models", "tasks", "criterions", "optimizers"):
        for name, cls in sorted(classes[kind].items()):
            parser = argparse.ArgumentParser(add_help=False)
            cls.add_args(parser)
            actions = {max(action.option_strings, key=len): plain(action.default) for action in parser._actions
                       if action.option_strings}  # fmt: skip
            found[f"{kind} {name}"] = dict(sorted(actions.items()))
    return found


def of_architectures(classes):
    """Return {architecture: {option: value}}; under a model's name, the values of options that nothing else sets."""
    from fairseq.models import ARCH_CONFIG_REGISTRY

    found = {}
    for model in ("clap_roberta", "char_lm", "causal_lm"):
        module = importlib.import_module(f"plugins.models.{model}_config")
        found[f"{model}, unset"] = {option: plain(value) for option, value in sorted(module.DEFAULTS.items())}
    for name in sorted(classes["architectures"]):
        options = argparse.Namespace()
        ARCH_CONFIG_REGISTRY[name](options)
        found[name] = {option: plain(value) for option, value in sorted(vars(options).items())}
    return found


def of_python():
    """Return {function, method or class: {parameter: default}}, without those that have none."""
    from plugins import hub

    objects = {f"hub.{name}": getattr(hub, name) for name in hub.__all__}
    for package in PACKAGES:
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                own = getattr(value, "__module__", None) == info.name and not name.startswith("_")
                if own or (callable(value) and name in getattr(module, "__all__", ())):
                    objects[f"{info.name.removeprefix('plugins.')}.{name}"] = value
    found = {}
    for name, value in objects.items():
        if inspect.isclass(value):
            members = {key: getattr(value, key) for key in vars(value) if not key.startswith("_")}
            methods = {key: member for key, member in members.items() if callable(member)}
            found |= {f"{name}.{key}": parameters(member) for key, member in methods.items()}
        if callable(value):
            found[name] = parameters(value)
    return {name: given for name, given in sorted(found.items()) if given}


def parameters(function):
    """Return {parameter: default} of a function."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C
        return {}
    return {one.name: plain(one.default) for one in given if one.default is not one.empty}


def plain(value):
    """Return a default as JSON can store it: numbers, texts, lists, else a name."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if type(value) not in (bool, int, float, str, type(None)) else value
    return getattr(value, "__name__", type(value).__name__)
