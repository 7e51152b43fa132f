#!/usr/bin/env bash
# transformers 4.53.2 with accelerate 1.15.0: a run that Trainer resumes in the middle of an epoch does
# not hide the words that the uninterrupted run hides.
#
# Expected: `Trainer.train(resume_from_checkpoint=...)` on a CPU, with the same seed and data, ends with
# the weights of a run that was not interrupted. Checkpoints hold the states of the random generators,
# and batches that were seen are skipped.
#
# Behaviour: that holds if the batches themselves are not random. `DataCollatorForLanguageModeling`
# draws from torch's global generator. A batch is collated before the state of the checkpoint is put
# back, and the data loader is one batch ahead when a checkpoint is saved, so that all later words are
# drawn from another place of the sequence. Nothing warns. What helps is a draw that depends on the
# number of the item alone, in the data set.
#
# Output seen:
#
#     fixed words hidden: resumed as uninterrupted True
#     words hidden by the collator: resumed as uninterrupted False
#
# Exit status: 0 if the behaviour is still as described, otherwise not 0, with a line that says
# what changed.
set -euo pipefail
unset PYTHONPATH CI
export HF_HUB_OFFLINE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.13.0 transformers==4.53.2 accelerate==1.15.0 numpy==2.4.6
cat > resumed.py <<'PY'
import shutil

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

words = [f"word{i}" for i in range(40)]
with open("vocab.txt", "w") as file:
    file.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
tokenizer = BertTokenizerFast("vocab.txt")
rng = torch.Generator().manual_seed(0)
rows = [{"input_ids": torch.randint(5, 45, (16,), generator=rng)} for _ in range(40)]
fixed = [{"input_ids": torch.where(torch.rand(16, generator=rng) < 0.2, 4, row["input_ids"]), "labels": row["input_ids"]} for row in rows]


def run(data, collator, folder, steps, resume=None):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=45, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    arguments = TrainingArguments(
        folder, max_steps=20, per_device_train_batch_size=4, save_steps=5, learning_rate=1e-2,
        use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = Trainer(BertForMaskedLM(config), arguments, collator, data)
    trainer.train(resume_from_checkpoint=resume)
    return trainer.model.state_dict()


def same(data, collator, name):
    whole = run(data, collator, name, 20)
    for number in (10, 15, 20):
        shutil.rmtree(f"{name}/checkpoint-{number}")
    resumed = run(data, collator, name, 20, f"{name}/checkpoint-5")
    return all(torch.equal(whole[key], resumed[key]) for key in whole)


print("fixed words hidden: resumed as uninterrupted", same(fixed, default_data_collator, "fixed"))
masks = DataCollatorForLanguageModeling(tokenizer)
print("words hidden by the collator: resumed as uninterrupted", same(rows, masks, "drawn"))
PY
venv/bin/python -W ignore resumed.py 2> log > out || { tail -3 log; exit 1; }
cat > expected <<'TXT'
fixed words hidden: resumed as uninterrupted True
words hidden by the collator: resumed as uninterrupted False
TXT
grep "hidden" out | tee shown
diff -q shown expected > /dev/null || { echo "changed: what a resumed run hides"; exit 1; }
