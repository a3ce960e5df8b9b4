"""A JSON object whose nested values are read by paths."""

from typing import Any


class JsonRecord(dict[str, Any]):
    """A JSON object; a name that is none of its keys may be a path of keys and list places.

    ``record["answers.text.0"]`` is the first item of ``record["answers"]["text"]``. ``in`` and ``get`` find paths too;
    iteration is over the object's own keys.
    """

    def __missing__(self, name: str) -> Any:
        first, *rest = name.split(".")
        if not rest or first not in self.keys():
            raise KeyError(name)
        value = self[first]
        for part in rest:
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a key or a path, else the default."""
        return self[name] if name in self else default
