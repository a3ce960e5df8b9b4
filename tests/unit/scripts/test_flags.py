"""Numbers on the command lines of scripts."""

import argparse

import flags
import pytest


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (flags.seed, ["0", "2147483647"], ["-1", "2147483648", "1e3"]),
        (flags.processes, ["1", "1024"], ["0", "-1", "1025", "1000000000000"]),
        (flags.positive, ["1"], ["0", "-1", "1e30", ""]),
        (flags.natural, ["0", "7"], ["-1", "0.5"]),
        (flags.not_negative, ["0", "2.5"], ["-1e-9", "inf", "nan", "x"]),
        (flags.rate, ["1e-30"], ["0", "-1", "inf", "nan"]),
        (flags.fraction, ["1", "0.1"], ["0", "-1", "1.1", "nan"]),
    ],
)
def test_numbers_have_limits(kind, good, bad):
    for text in good:
        assert kind(text) == float(text)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


@pytest.mark.parametrize("given", ["--seed=-1", "--seeds=-1"])
def test_the_flag_of_a_bad_seed_is_named(given, capsys):
    parser = argparse.ArgumentParser()
    flags.add_seed(parser)
    flags.add_seeds(parser, [1])
    with pytest.raises(SystemExit):
        parser.parse_args([given])
    assert given.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("given", ["--temperature=-1", "--top-k=-1", "--top-p=0", "--top-p=1.5"])
def test_the_flag_of_a_bad_number_of_sampling_is_named(given, capsys):
    parser = argparse.ArgumentParser()
    flags.add_sampling(parser, 0.8, 200)
    with pytest.raises(SystemExit):
        parser.parse_args([given])
    assert given.partition("=")[0] in capsys.readouterr().err
