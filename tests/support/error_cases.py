"""What provokes each error of the index (`docs/errors.md`), by the pattern that stands there."""

import dataclasses
import errno
from typing import Any, cast

import numpy as np

import negjax
from experiments.plan import chips, models
from experiments.pretrain_bert.corpus import read_text
from negjax import mceval8k, skills
from negjax.model import meshes
from negjax.process.precisions import chosen_rung, hardware_here
from negjax.storage.file_parts import FilePart
from tests.support import (
    corpus_mistakes,
    export_mistakes,
    host_mistakes,
    question_mistakes,
)
from tests.support.block_shapes import GATED, tiny
from tests.support.mistakes import (
    GOLD,
    POINTER,
    SCORES,
    Provoke,
    arrays_file,
    benchmark,
    bert,
    chat,
    config_with,
    damaged,
    damaged_benchmark,
    damaged_run,
    dropped,
    encode,
    enhance,
    failing_disk,
    flag,
    gguf_part,
    halves,
    in_use,
    lm,
    marked_flags,
    no_device,
    not_finite,
    not_resized,
    other_sets,
    other_settings,
    pickled,
    probes,
    response,
    run_folder,
    sentencepiece,
    strangers,
    sweep,
    table,
    text_file,
)
from tests.support.writing_mistakes import WRITING_CASES

CASES: dict[str, Provoke] = {
    **WRITING_CASES,
    "source … is no directory, no file, no hub id (owner/name) …": lambda _: negjax.load(
        "no-such-model"
    ),
    "source …: no such file or directory…": lambda _: negjax.load("./nowhere"),
    "source is …, expected a path: text or pathlib.Path": lambda _: negjax.load(cast(Any, None)),
    "…: no config.json here; expected a directory in …": lambda folder: damaged(
        folder, "config.json", None
    ),
    "…: a Git LFS pointer, … run `git lfs pull` …": lambda folder: damaged(
        folder, "tokenizer.json", POINTER
    ),
    "…: the file is empty; fetch or write it again": lambda folder: damaged(
        folder, "tokenizer_config.json", b""
    ),
    "…: not JSON, or cut off: …; fetch or write it again": lambda folder: damaged(
        folder, "tokenizer.json", b'{"a": '
    ),
    "…: holds a JSON …, expected an object": lambda folder: damaged(folder, "config.json", b"[1]"),
    "…: UTF-16 or UTF-32 text; save the file as UTF-8": lambda folder: damaged(
        folder, "config.json", "{}".encode("utf-16")
    ),
    "…: not UTF-8 at byte … (line …): …; save the file …": lambda folder: damaged(
        folder, "config.json", b'{"a": "\xe9"}'
    ),
    "…: model_type is …; negjax knows …": lambda folder: config_with(folder, model_type="mamba"),
    "…: no tokenizer here, expected one of …": lambda folder: damaged(
        folder, "tokenizer.json", None
    ),
    "…: auto_map asks to run the repository's own code; …": lambda folder: damaged(
        folder, "tokenizer_config.json", b'{"auto_map": {}}'
    ),
    "…: no model.safetensors and no … here": lambda folder: damaged(
        folder, "model.safetensors", None
    ),
    "…: the weights are pickles (…), which can run code …": pickled,
    "…: truncated, or not a safetensors file (…); …": lambda folder: damaged(
        folder, "model.safetensors", b"\x08"
    ),
    "…: weight_map is …, expected tensor names and files": lambda folder: damaged(
        folder, "model.safetensors.index.json", b"{}"
    ),
    "…: … of the … shards that … names are missing: …": lambda folder: damaged(
        folder, "model.safetensors.index.json", b'{"weight_map": {"a": "b"}}'
    ),
    "…: expected a directory in … or a GGUF file, …": lambda folder: negjax.load(
        text_file(folder, "model.bin")
    ),
    "…: settings that negjax does not know … assume_harmless=[…]": lambda folder: config_with(
        folder, quirk=1
    ),
    "…: weights are not finite in …:…": not_finite,
    "…: not a tokenizer that the tokenizers package can …": lambda folder: damaged(
        folder, "tokenizer.json", b"{}"
    ),
    "…: chat_template is …, expected a template, …": lambda folder: damaged(
        folder, "tokenizer_config.json", b'{"chat_template": 3}'
    ),
    "…: reading it takes the package sentencepiece, …": sentencepiece,
    "…: truncated, or not a GGUF file (…); …": lambda folder: negjax.load(
        text_file(folder, "model.gguf")
    ),
    "…: a big-endian GGUF file, … convert the model …": lambda folder: negjax.load(
        text_file(folder, "model.gguf", "GGUF\0\0\0\x03")
    ),
    "…: general.architecture is …; negjax reads GGUF files of …": lambda folder: negjax.load(
        gguf_part(folder, "model.gguf", "mamba")
    ),
    "…: the GGUF file has no masked-LM head, …": lambda folder: negjax.load(
        gguf_part(folder, "model.gguf", "bert")
    ),
    "…: one of … parts, and not the first; …": lambda folder: negjax.load(
        gguf_part(folder, "model.gguf", "llama", count=3)
    ),
    "…: … of the … parts of the file are missing: …": lambda folder: negjax.load(
        gguf_part(folder, "model-00001-of-00003.gguf", "llama", count=3)
    ),
    "dtype is …, expected one of float32, bfloat16, float64": lambda _: negjax.load(
        "gpt2", dtype="float16"
    ),
    "weights is …, expected one of auto, resident, streamed": lambda folder: negjax.load(
        "facts-bert", weights="disk"
    ),
    "parameter … is streamed, layer by layer, and this …": lambda folder: negjax.save_pretrained(
        negjax.load("facts-bert", weights="streamed"), folder / "copy"
    ),
    "…: the file has gone while its weights were read; …": lambda folder: FilePart(
        folder / "gone", 0, 1
    ).read(),
    "…: ends at byte …, its header says that weights go …": lambda folder: FilePart(
        text_file(folder, "short"), 0, 100
    ).read(),
    "precision is …, expected one of auto, float32, …": lambda _: negjax.load(
        "gpt2", precision="most"
    ),
    "precision=…: this device … does not compute …; pass …": lambda _: negjax.load(
        "facts-bert", precision="x3"
    ),
    "precision=… with dtype=…: products of float64 numbers …": lambda _: chosen_rung(
        "x3", hardware_here(), "float64"
    ),
    "JAX cannot start: …; …": no_device,
    "prompts is …, expected a list of prompts (one is [prompt])": lambda _: encode("w3"),
    "prompts[…] is …, expected text, token ids or chat messages": lambda _: encode([[]]),
    "prompt is …, expected text, token ids or chat messages": lambda _: negjax.steer(
        lm(), cast(Any, ["w3"]), "w4", 0.5
    ),
    "prompts[…] is …, expected text, …; one prompt is [prompt]": lambda _: encode([3, 5]),
    "prompts[…] holds token id …, expected 0 to …: …": lambda _: encode([[3, -1]]),
    "prompts[…] is token ids that its text, …, is not …": lambda _: negjax.encode(
        halves(), [[2, 3]], ["w4"]
    ),
    "prompts[…][…] is …, expected a message: …": lambda _: encode([[{"role": "user"}, "w3"][::-1]]),
    'prompts[…][…]["content"] is …, expected text': lambda _: encode([[{"role": "user"}]]),
    "prompts[…] is a chat, and … has no chat template; …": lambda _: chat("", "w3"),
    "prompts[…]: the chat template of … does not render …": lambda _: chat(
        "{{ raise_exception('roles') }}", "w3"
    ),
    "targets[…] is …, expected text or token ids": lambda _: encode(["w3"], [1990]),
    "targets is …, expected a list of texts, of token ids, …": lambda _: encode(["w3"], "w4"),
    "no prompts: expected at least one": lambda _: encode([], []),
    "… prompts but … targets: expected one each": lambda _: encode(["w3", "w5"], ["w4"]),
    "targets a prompt: …; expected the same number, 1 or more": lambda _: encode(
        ["w3", "w5"], ["w4", ["w4", "w6"]]
    ),
    "prompt … is empty: …; expected text": lambda _: encode([" "]),
    "target … of prompt … is empty; expected text": lambda _: encode(["w3"], [" "]),
    "target … of prompt … is … tokens …; pass target_mode=…": lambda _: encode(["w3"], ["w4 w5"]),
    "… holds text that the vocabulary does not know (…): …": lambda _: encode(["w3 x"]),
    "… holds text that the vocabulary does not know: … at …": lambda _: dropped(),
    "… holds token id …, and the model embeds ids 0 to …: …": lambda _: not_resized(),
    "… holds half a surrogate pair: …": lambda _: encode(["w3 \ud800"]),
    "targets … and … of prompt … are the same tokens …; …": lambda _: encode(
        ["w3"], [["w4", " w4"]]
    ),
    "prompt … does not keep its last tokens when … follows: …": lambda _: encode(
        ["w3"], ["w4"], separator=""
    ),
    "probes: prompt … is read at position …, expected …": lambda _: dataclasses.replace(
        probes(), read=np.zeros(len(probes()), int)
    ),
    "prompt … is … tokens with its target, … shorten it": lambda _: encode([" ".join(["w3"] * 40)]),
    "prompt … has … times [MASK]: …": lambda _: bert("w3 w4"),
    "target_mode is …, expected one of single, first, …": lambda _: encode(target_mode="last"),
    "lm is …, expected a LanguageModel: …": lambda _: negjax.neurgrad(cast(Any, "gpt2"), probes()),
    "probes: … was given, expected Probes: …": lambda _: negjax.neurgrad(lm(), cast(Any, ["w3"])),
    "probes: … is a … LM, and the prompts were encoded …": lambda _: negjax.neurgrad(
        tiny("bert"), probes()
    ),
    "probes: … holds token id …: the tokenizer has tokens …": lambda _: negjax.neurgrad(
        tiny("gated", vocab_size=5), probes()
    ),
    "neurons are …, expected integers [N, 2] or …": lambda _: sweep(neurons=[(0.0, 1.0)]),
    "no neurons: expected at least one …": lambda _: sweep(neurons=np.zeros((0, 2), int)),
    "neuron (layer …, index …) does not exist: …": lambda _: sweep(neurons=[[9, 0]]),
    "site …: a model with … feed-forward layers …": lambda _: sweep(site="act"),
    "convention is …, expected one of signed, additive": lambda _: sweep(convention="up"),
    "output is …, expected one of probability, …": lambda _: response(output="odds"),
    "method is …, expected one of cg, neurgrad, …": lambda _: negjax.estimate(
        lm(), probes(), "gradient"
    ),
    "target is …, and each prompt has …; pass target=0 … …": lambda _: sweep(target=None),
    "prompts are selected by a whole number or a slice, …": lambda _: probes()[cast(Any, [0])],
    "gradients are of … targets a prompt; pass target from …": lambda _: negjax.top_neurons(
        negjax.neurgrad(lm(), probes()), 1
    ),
    "gradients are [B, K, L, F] = …, lm and probes are …; …": lambda _: negjax.top_neurons(
        negjax.neurgrad(lm(), probes()), 1, lm(), probes().select([0]), target=0
    ),
    "tokens and NEG take the model and the probes …": lambda _: negjax.top_neurons(
        negjax.neurgrad(lm(), probes()), 1, target=0, with_neg=True
    ),
    "shifts is …, expected a number or an array of numbers": lambda _: sweep(shifts=["1"]),
    "shifts is …, expected a list of finite numbers …": lambda _: sweep(shifts=[[1.0]]),
    "shifts holds …: expected finite numbers": lambda _: sweep(shifts=[np.nan]),
    "shifts holds …, which … cannot hold: …": lambda _: sweep(shifts=[1e39]),
    "… of prompt … is …: the model overflows in …; …": lambda _: sweep(shifts=[1e30]),
    "shifts … must be a list within ±…, the range measured; …": lambda _: response()(
        np.asarray([2.0])
    ),
    "radius is …, expected a positive number, …": lambda _: response(radius=-1.0),
    "nodes is …, expected a whole number, 4 or more, …": lambda _: response(nodes=3),
    "step is … and radius …: expected 0 < step ≤ radius": lambda _: negjax.paper_grid(2.0, 3.0),
    "measured is …, expected what sweep or response returns": lambda _: negjax.linear_fit(
        cast(Any, [1.0])
    ),
    "pairs=…: the grid has …; pass fewer, …": lambda _: negjax.neg(
        lm(), probes(), [(0, 0)], 1.0, 0.5, pairs=3, target=0
    ),
    "reroute=True: models of family … have no experts; …": lambda _: sweep(reroute=True),
    "…: what a shift writes in a mixture of experts …": lambda _: negjax.edit(
        tiny("experts"), probes().select_target(0)
    ),
    "budget_bytes=… is too small: …": lambda _: sweep(budget_bytes=9),
    "budget_bytes is …, expected a whole number, …": lambda _: sweep(budget_bytes="2GB"),
    "sets are a …, expected an array of shifts …": lambda _: negjax.joint(
        lm(), probes(), cast(Any, [1]), target=0
    ),
    "the sets are of a model with …": other_sets,
    "volume is … and ratio …: pass one of them": lambda _: enhance(volume=None),
    "k is …: expected 1 to …, the model's neurons": lambda _: enhance(k=0),
    "probability is …, expected a number between 0 and 1, …": lambda _: negjax.steer(
        lm(), "w3", "w4", 1.0, unrelated=probes()
    ),
    "scores are …, expected floats or int8, [B, K, L, F]": lambda _: skills.Polar(k=1).fit(
        SCORES[0], GOLD
    ),
    "gold is …, expected integers …: one label a prompt, …": lambda _: skills.Polar(k=1).fit(
        SCORES, GOLD[:3]
    ),
    "gold of prompt … is …, expected 0 …": lambda _: skills.Polar(k=1).fit(SCORES, GOLD + 1),
    "no prompt of … has label … of …; train on prompts …": lambda _: skills.Polar(k=1).fit(
        SCORES, GOLD * 0
    ),
    "k is …, expected 1 to …: there are … neurons": lambda _: skills.Polar(k=99).fit(SCORES, GOLD),
    "path … is a directory, expected …": lambda folder: skills.load_probe(folder),
    "…: damaged, or not a saved probe: …": lambda folder: skills.load_probe(
        text_file(folder, "probe.safetensors")
    ),
    "path …: no such directory; expected one of extract's": lambda _: skills.read_features(
        "nowhere"
    ),
    "…: holds no record; expected a file that …": lambda folder: negjax.read(
        arrays_file(folder, {})
    ),
    "…: holds a record that this version of negjax does …": lambda folder: negjax.read(
        arrays_file(folder, {"negjax_record": '{"array": "gone"}'})
    ),
    "… is …, which a file of records does not hold; …": lambda folder: negjax.save(
        folder / "file", object()
    ),
    "path …: no such file; expected …": lambda _: negjax.read_facts("~/nowhere.csv"),
    "path …: unknown suffix …; known: .csv, …": lambda folder: table(folder, "a", "facts.txt"),
    "…: no column …; columns: …; name yours with …": lambda folder: table(
        folder, "question,answer\na,b\n"
    ),
    "…: the table has no rows": lambda folder: table(folder, "prompt,answer\n"),
    "…: row …: … is blank": lambda folder: table(folder, "prompt,answer\na, \n"),
    "…: holds …, which is no table; expected a list of …": lambda folder: table(
        folder, "[1]", "facts.json"
    ),
    "…: row …: … is …, expected text…": lambda folder: table(
        folder, '{"prompt": 3, "answer": "a"}', "facts.jsonl"
    ),
    "…: line … is not JSON: …": lambda folder: table(folder, "{", "facts.jsonl"),
    "limit=…: … has … rows; pass 1 to …": lambda folder: table(
        folder, "prompt,answer\na,b\n", limit=9
    ),
    "name: task …: expected one of …": lambda _: mceval8k.load("nre"),
    "root … is no directory; expected one that holds …": lambda _: mceval8k.load("ner", "nowhere"),
    "…: … is missing; complete the directory from the …": lambda folder: mceval8k.load(
        "ner", folder
    ),
    "split is …, expected one of disjoint, original": lambda folder: benchmark(
        folder, split="test"
    ),
    "template …: … has …, pass 0 to …": lambda folder: benchmark(folder, template=99),
    "…: … is truncated or damaged: … fetch the file again": damaged_benchmark,
    "…: unknown suffix …; known: .txt, .jsonl": lambda folder: read_text(
        text_file(folder, "corpus.doc")
    ),
    "… is a file, expected a folder for the run; …": lambda folder: run_folder(
        text_file(folder, "run").parent, {}
    ),
    "… holds files that no run wrote (…); …": strangers,
    "… holds a run with other settings (…); …": other_settings,
    "… is in use by another process; …": in_use,
    "… is missing or damaged; pass overwrite=True …": damaged_run,
    "… What was finished before is kept: free some space …": failing_disk(errno.ENOSPC),
    "… finished before is kept: change the permissions …": failing_disk(errno.EACCES),
    "… finished before is kept: let more files be open …": failing_disk(errno.EMFILE),
    "no such chip; … expected one of here, a100, …": lambda _: chips.named("h10"),
    "mesh=…: expected axes and their sizes from 1 on, such as …": lambda _: meshes.read_mesh("8"),
    "mesh=…: model:… divides … heads and … neurons unevenly; …": lambda _: meshes.check_divides(
        GATED, meshes.MeshShape(model=3)
    ),
    "mesh=… has … devices, there are …": lambda _: negjax.load("facts-bert", mesh="data:9999"),
    "weights=… with mesh=…: several devices hold weights …": lambda _: negjax.load(
        "facts-bert", mesh="data:1", weights="streamed"
    ),
    "no directory, no config.json, … and none of …": lambda _: models.read_config("llama-9", []),
    "--flagfile …: no such file; expected a file of flags, …": flag("--flagfile=nowhere.flags"),
    "--flagfile=…: UTF-16 or UTF-32 text; save the file …": marked_flags,
    "… is …, which lies on no disk of this machine: …": lambda _: negjax.load("az://bucket/model"),
}
for others in (host_mistakes, export_mistakes, question_mistakes, corpus_mistakes):
    CASES |= others.CASES
