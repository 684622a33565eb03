"""The text baselines: any encoder of the family, and what each setting does."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from mner.models import model_named
from mner.recognizer import Recognizer
from tests.contract.tiny import LABELS, LONG_POST, POSTS, assembled, tiny, tiny_text_config, tiny_tokenizer

SMALL = {
    "vocab_size": len(tiny_tokenizer()),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
ENCODERS = {
    "bert": tiny_text_config(),
    "roberta": RobertaConfig(**SMALL, max_position_embeddings=65),
    "xlm-r": XLMRobertaConfig(**SMALL, max_position_embeddings=65),
    "electra": ElectraConfig(**SMALL, embedding_size=16, max_position_embeddings=64),
    "distilbert": DistilBertConfig(
        vocab_size=len(tiny_tokenizer()),
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=48,
        max_position_embeddings=64,
    ),
    "deberta": DebertaV2Config(**SMALL, max_position_embeddings=64),
    "modernbert": ModernBertConfig(**SMALL, max_position_embeddings=64, cls_token_id=2, sep_token_id=3),
}


@pytest.mark.parametrize("decoder", ["bert-crf", "bert-span"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_any_encoder_of_the_family(encoder, decoder, tmp_path):
    torch.manual_seed(0)
    model_class = model_named(decoder).model
    recognizer = assembled(
        model_class(model_class.config_class(labels=list(LABELS), text_config=ENCODERS[encoder]))
    )
    recognizer.model.train()
    recognizer.model(recognizer.encode([*POSTS, LONG_POST], labelled=True)).loss.backward()
    gradients = [p.grad for p in recognizer.model.text_encoder.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    recognizer.save_pretrained(tmp_path)
    recognizer.model.eval()
    assert Recognizer.from_pretrained(tmp_path).predict(POSTS) == recognizer.predict(POSTS)


@pytest.mark.parametrize("name", ["bert-crf", "bert-span", "bilstm-crf"])
def test_word_shapes_reach_the_word_states(name):
    with_shapes, without = tiny(name), tiny(name, word_shape=False)
    names = {key for key, _ in with_shapes.model.named_parameters()} - {
        key for key, _ in without.model.named_parameters()
    }
    assert names
    assert all("shape_embedding" in key for key in names)
    assert with_shapes.encode(POSTS).word_shapes is not None
    assert without.encode(POSTS).word_shapes is None


def test_shapes_tell_words_apart_that_the_encoder_cannot():
    recognizer = tiny("bert-crf")
    recognizer.model.eval()
    texts = ["ada reads", "Ada reads"]
    with torch.no_grad():
        before = recognizer.model(recognizer.encode([_post(text) for text in texts])).emissions
        assert torch.equal(before[0], before[1])
        for table in recognizer.model.reader.shape_embedding.tables:
            torch.nn.init.normal_(table.weight)
        after = recognizer.model(recognizer.encode([_post(text) for text in texts])).emissions
    assert not torch.allclose(after[0], after[1])


def test_the_longest_span_bounds_what_is_found():
    recognizer = tiny("bert-span", longest_span=2)
    with torch.no_grad():
        scores = recognizer.model(recognizer.encode(POSTS)).span_scores
    assert scores.shape[2] == 2


def test_a_softmax_has_no_scores_of_transitions():
    recognizer = tiny("bert")
    chain = recognizer.model.decoder.crf
    assert all(float(score.detach().abs().max()) == 0 for score in chain.parameters())
    assert not any(score.requires_grad for score in chain.parameters())
    batch = recognizer.encode(POSTS, labelled=True)
    recognizer.model.eval()
    output = recognizer.model(batch)
    probabilities = output.emissions.log_softmax(-1)
    values = [
        -probabilities[post, word, batch.tags[post, word]]
        for post in range(len(POSTS))
        for word in range(len(POSTS[post].words))
    ]
    torch.testing.assert_close(output.loss, torch.stack(values).mean())


def test_unknown_words_are_learnt_from_hidden_ones():
    recognizer = tiny("bilstm-crf", unknown_share=1.0, dropout=0.0)
    recognizer.model.train()
    batch = recognizer.encode(POSTS)
    changed = recognizer.encode(POSTS)
    changed.words = torch.where(changed.word_mask, 2, changed.words)
    # When every word is hidden, which words they are makes no difference.
    torch.testing.assert_close(recognizer.model(batch).emissions, recognizer.model(changed).emissions)


def _post(text):
    from mner.posts import Post

    return Post.from_text(text)
