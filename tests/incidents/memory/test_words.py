"""How text is cut."""

from __future__ import annotations

import pytest

from incidents.memory.words import families, stem, words


def test_a_name_in_camel_case_is_kept_whole_and_cut() -> None:
    assert words("KubePodCrashLooping") == ["kubepodcrashlooping", "kubernet", "pod", "crash", "loop"]


def test_an_acronym_inside_a_name_is_one_word() -> None:
    assert words("KubeAPIErrors")[1:] == ["kubernet", "api", "error"]


@pytest.mark.parametrize(
    ("name", "people"),
    [
        ("KubePodCrashLooping", "the pods are crash looping"),
        ("node_filesystem_avail_bytes", "available bytes of the filesystem"),
        ("/etc/nginx/nginx.conf", "the configuration of nginx"),
        ("OOMKilled", "was killed by the OOM killer"),
        ("TargetDown", "targets are down"),
        ("PVC", "PersistentVolumeClaim"),
    ],
)
def test_what_programs_write_meets_what_people_write(name: str, people: str) -> None:
    assert set(words(name)) & set(words(people))


@pytest.mark.parametrize(
    "text",
    [
        "exit code 137",
        "exited with code 137",
        "Exited (137)",
        "exit status 137",
        "exit code: 137",
        "exit=137",
    ],
)
def test_an_exit_code_is_one_word_however_it_is_written(text: str) -> None:
    assert "exit137" in words(text)


@pytest.mark.parametrize("piece", ["exit", "exited with", "1", "1.", "out", "a", "A", "Aa", "a-", "0x", "ed"])
@pytest.mark.parametrize("filler", [" ", "\n", ""])
def test_no_pattern_tries_all_ways_to_fit_a_long_text(piece: str, filler: str) -> None:
    """One that did would not end."""
    blanks = f"{piece}{filler * 100_000}x"
    repeated = f"{piece}{filler}" * 20_000
    assert len(words(blanks)) < 10
    assert len(words(repeated)) <= 2 * len(repeated)


def test_an_exit_code_names_its_signal() -> None:
    assert "sigkill" in words("container exited with code 137")


def test_an_exit_code_is_not_another() -> None:
    assert "exit137" not in words("exit code 1")


def test_out_of_memory_is_what_the_kernel_calls_it() -> None:
    assert "oom" in words("ran out of memory")
    assert "oom" in words("OOMKilled")


def test_an_address_is_not_cut() -> None:
    assert words("10.0.0.5:9100") == ["10.0.0.5", "10.0.0.5:9100"]


def test_error_codes_and_percentages_keep_their_number() -> None:
    assert words("0x80070005") == ["0x80070005"]
    assert words("HTTP 503")[-1] == "503"
    assert words("over 90%") == ["90", "percent"]


def test_stop_words_and_serial_numbers_are_left_out() -> None:
    assert words("it is the 1700000000000 of 4f2a91bb03cd77e1") == []


def test_what_says_no_is_kept() -> None:
    assert words("no leader") == ["no", "leader"]


def test_different_words_for_the_same_trouble_are_of_one_family() -> None:
    [down] = set(families(words("the target is down")))
    assert down in families(words("targets are unreachable"))
    assert down in families(words("has disappeared from target discovery"))
    assert down not in families(words("the target is slow"))
    assert down not in words("down ~down")


def test_text_without_words_has_none() -> None:
    assert words("") == words(" \n\t ---- ") == []


def test_words_that_are_not_english_letters_do_no_harm() -> None:
    assert "disk" in words("Диск voll: disk 磁盘 \x00")


@pytest.mark.parametrize(
    ("words_of_a_kind", "common"),
    [
        (("restart", "restarts", "restarted", "restarting"), "restart"),
        (("query", "queries", "queried"), "queri"),
        (("stop", "stops", "stopped", "stopping"), "stop"),
        (("install", "installed", "installing", "installation"), "install"),
        (("recent", "recently"), "recent"),
    ],
)
def test_relatives_share_a_stem(words_of_a_kind: tuple[str, ...], common: str) -> None:
    assert {stem(word) for word in words_of_a_kind} == {common}


@pytest.mark.parametrize("word", ["bus", "dns", "status", "redis", "loss", "ring", "red", "ssd", "node2"])
def test_short_and_odd_words_stay(word: str) -> None:
    assert stem(word) in (word, word.removesuffix("s"))
    assert len(stem(word)) >= 2
