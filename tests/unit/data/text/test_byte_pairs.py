"""Fast merges give fairseq's symbols, in time that is nearly linear."""

import random
import time

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import Encoder

from plugins.data.text.byte_pairs import LONG_WORD, BytePairEncoder, merged


def tables(letters, merges, seed):
    """Return a table of merges whose pairs are drawn among the symbols made so far, in an order that is shuffled."""
    draw = random.Random(seed)
    symbols, pairs = list(letters), []
    for _ in range(merges):
        pair = draw.choice(symbols), draw.choice(symbols)
        if pair not in pairs and sum(map(len, pair)) < 9:
            pairs.append(pair)
            symbols.append("".join(pair))
    return dict.fromkeys(symbols), pairs


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shuffled", [False, True])
def test_long_words_have_fairseqs_symbols(seed, shuffled):
    symbols, pairs = tables("ab" if seed % 2 else "abcd", 30, seed)
    if shuffled:  # a later merge may make a pair of a lower rank
        random.Random(seed).shuffle(pairs)
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    draw = random.Random(seed)
    word = "".join(draw.choice("ab" if seed % 2 else "abcd") for _ in range(LONG_WORD * 3))
    assert BytePairEncoder(vocabulary, pairs).encode(word) == Encoder(vocabulary, pairs).encode(word)


def test_overlapping_pairs_are_merged_from_the_left():
    assert merged("aaaaa", {("a", "a"): 0}) == ["aa", "aa", "a"]
    assert merged("aaaa", {("a", "a"): 0, ("aa", "aa"): 1}) == ["aaaa"]
    assert merged("abc", {}) == ["a", "b", "c"]


def test_all_pairs_of_a_rank_are_merged_before_those_that_they_make():
    ranks = {("ab", "a"): 0, ("a", "b"): 1}
    assert merged("abab", ranks) == ["ab", "ab"]


def test_the_time_is_nearly_linear_in_the_length_of_a_word():
    draw = random.Random(1)
    _, pairs = tables("abcd", 200, 1)
    ranks = {pair: i for i, pair in enumerate(pairs)}

    def seconds(length):
        word = [draw.choice("abcd") for _ in range(length)]
        times = []
        for _ in range(3):
            start = time.process_time()
            merged(word, ranks)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(100_000) < 45 * seconds(10_000)  # 100 times if it were quadratic
