"""Texts that tokenizers trip over."""

import random

PARTS = (
    *(
        "",
        " ",
        "  ",
        " " * 19,
        "\t",
        "\n",
        "\r\n",
        "\n\n \t\n",
        "\u00a0",
        "\u3000",
        "\u2028",
        "\x85",
    ),
    *("1", "2010", "1234567890123", "3.14", "1,000", "½²", "٣٤٥", "१२"),
    *("hello", "Hello", "HELLO", "helloWorld", "a", "aab abaab", "Donaudampfschiff" * 9, "x" * 130),
    *("it's", "I'LL", "don't", "\u2019s", "'S", "'", "''", "o'clock", "'\u017f"),
    *("東京", "你好\uff0c世界。", "ありがとう", "한국어", "𠀀", "a東b"),
    *("🙂", "👩🏽‍🚀", "👨‍👩‍👧‍👦", "🇩🇪", "❤️", "\u200d", "\ufe0f"),
    *("é", "e\u0301", "n\u0303\u0302", "\u0301", "Ǆ", "İ", "ß", "ﬁ", "Å", "Ω"),
    *("نَمَسْتے مرحبا", "नमस्ते", "สวัสดี", "שָׁלוֹם", "Привет", "Ελληνικάς"),
    *("\x00", "\x07", "\x1b[0m", "\x7f", "\u200b", "\u202e", "\ufeff", "\ufffd", "\U000e0001"),
    *(
        "!?",
        "...",
        "a/b/\n",
        "!\n/",
        "_x_",
        "#tag",
        "##ing",
        "<|",
        "|>",
        "[",
        "]",
        "\\",
        "`~",
        "▁",
        "€",
    ),
)


def odd_texts(added: list[str], count: int) -> list[str]:
    """Every part, every added token alone and inside text, and as many mixtures of all, the same
    ones every time."""
    around = [
        text
        for token in added
        for text in (
            token,
            f"a{token}b",
            f"a {token} b",
            f" {token}\n\nb",
            f"{token}{token}",
            token[1:],
        )
    ]
    draw = random.Random(0)
    parts = [*PARTS, *added]
    mixed = ["".join(draw.choices(parts, k=draw.randint(2, 8))) for _ in range(count)]
    return [*PARTS, *around, *mixed, *(" " * n for n in range(2, 40)), "a" + " " * 33 + "b"]
