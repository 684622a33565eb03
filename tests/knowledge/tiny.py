"""Tiny random checkpoints of the real architectures, saved to disk as the real ones are.

They say nothing sensible, but are loaded, fed and decoded by the very code that loads the real ones. Their
weights are drawn wide, so that greedy choices are clear and do not hang on rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel as ByteLevelDecoder

WORDS = """a the person place organization product question answer text of post about says what does picture
show user assistant system you describe step type name none kawhi leonard wins in toronto dog grass cat sofa
red blue green yellow . , : ! ? - > < / ( )"""
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def save(folder: Path, *parts: Any) -> str:
    """Write model, tokenizer, processors ... to a folder; gives its name."""
    for part in parts:
        part.save_pretrained(folder)
    return str(folder)


def built(model_class: Any, config: Any, seed: int = 0) -> Any:
    """A model with random weights, spread wide."""
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "lm_head" not in name:
                parameter.normal_(0.0, 0.35)
            elif parameter.dim() > 1:
                parameter.normal_(0.0, 1.0)
    return model.eval()


def byte_tokenizer(tokenizer_class: Any, special: dict[str, str], extra: tuple[str, ...] = ()) -> Any:
    """A byte-level tokenizer of a real class, without merges: a token a byte."""
    vocabulary = {token: index for index, token in enumerate([*special.values(), *BYTES])}
    tokenizer = tokenizer_class(vocab=vocabulary, merges=[], **special)
    tokenizer.add_tokens([transformers.AddedToken(t, special=True) for t in extra], special_tokens=True)
    return tokenizer


def plain_tokenizer(extra: tuple[str, ...] = ()) -> Any:
    """A byte-level tokenizer as Llama 3 has it: any class, with a token at the start of a text."""
    special = ["<pad>", "<s>", "</s>", *extra]
    inner = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate([*special, *BYTES])}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = ByteLevelDecoder()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(extra),
        model_max_length=4096,
    )


def clip_tokenizer(length: int = 16) -> Any:
    """CLIP's tokenizer with letters and their endings only."""
    letters = [*BYTES, *(letter + "</w>" for letter in BYTES)]
    # OWL-ViT takes a query that begins with token 0 for padding.
    tokens = ["<pad>", "<|startoftext|>", "<|endoftext|>", *letters]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=length)


def bert_tokenizer() -> Any:
    """BERT's tokenizer with some words, letters and pieces."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *WORDS.split(), *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return transformers.BertTokenizer(vocab=vocabulary, model_max_length=64)


def causal(folder: Path) -> str:
    """A Llama of two layers with a form of conversation."""
    tokenizer = plain_tokenizer()
    tokenizer.chat_template = (
        "<s>{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    return save(folder, built(transformers.LlamaForCausalLM, config), tokenizer)


def gpt2(folder: Path, positions: int = 2048) -> str:
    """A GPT-2 of two layers without a form of conversation and without a padding token."""
    special = {"bos_token": "<|endoftext|>"}
    tokenizer = byte_tokenizer(transformers.GPT2Tokenizer, special)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=positions, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    return save(folder, built(transformers.GPT2LMHeadModel, config), tokenizer)


def blip2(folder: Path) -> str:
    """A BLIP-2 with OPT inside."""
    tokenizer = byte_tokenizer(
        transformers.GPT2Tokenizer,
        {"pad_token": "<pad>", "bos_token": "</s>", "eos_token": "<eos>", "unk_token": "<unk>"},
        ("<image>",),
    )
    config = transformers.Blip2Config(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "image_size": 28, "patch_size": 14},
        qformer_config={"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2,
                        "num_attention_heads": 4, "intermediate_size": 48, "encoder_hidden_size": 32,
                        "cross_attention_frequency": 1},
        text_config={"model_type": "opt", "vocab_size": len(tokenizer), "hidden_size": 32, "ffn_dim": 48,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 1024,
                     "word_embed_proj_dim": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        num_query_tokens=4,
        image_token_index=len(tokenizer) - 1,
    )  # fmt: skip
    processor = transformers.Blip2Processor(
        image_processor=transformers.BlipImageProcessor(size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        num_query_tokens=4,
    )
    return save(folder, built(transformers.Blip2ForConditionalGeneration, config), processor)


def qwen2_vl(folder: Path) -> str:
    """A Qwen2-VL; saved with tokenizer and image processor alone, for its processor wants torchvision."""
    marks = (
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    )
    special = {"unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    tokenizer = byte_tokenizer(transformers.Qwen2Tokenizer, special, marks)
    number = tokenizer.convert_tokens_to_ids
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}"
        "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
        "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    config = transformers.Qwen2VLConfig(
        text_config={"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                     "max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": 0,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                         "mrope_section": [1, 1, 2]}},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2,
                       "patch_size": 14, "spatial_merge_size": 2},
        image_token_id=number("<|image_pad|>"), video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"), vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    images = transformers.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=28 * 28 * 16)
    return save(folder, built(transformers.Qwen2VLForConditionalGeneration, config), tokenizer, images)


def llava(folder: Path) -> str:
    """A LLaVA: CLIP's tower and a Llama."""
    tokenizer = plain_tokenizer(("<image>",))
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=28,
            patch_size=14, projection_dim=32,
        ),
        text_config=transformers.LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, pad_token_id=0,
            bos_token_id=1, eos_token_id=2,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    side = {"height": 28, "width": 28}
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=side),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for m in messages %}{{ m['role'].upper() }}: {% for part in m['content'] %}"
            "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %} "
            "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
        ),
    )
    return save(folder, built(transformers.LlavaForConditionalGeneration, config), processor)


def vit_gpt2(folder: Path) -> str:
    """A plain image-to-text model: a ViT and a GPT-2 that looks at it; it reads no prompt."""
    tokenizer = byte_tokenizer(transformers.GPT2Tokenizer, {"bos_token": "<|endoftext|>"})
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                               num_attention_heads=4, image_size=28, patch_size=14),
        transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=128,
                                bos_token_id=0, eos_token_id=0),
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=0,
    )  # fmt: skip
    images = transformers.ViTImageProcessor(size={"height": 28, "width": 28})
    return save(folder, built(transformers.VisionEncoderDecoderModel, config), tokenizer, images)


def grounding_dino(folder: Path) -> str:
    """A Grounding DINO with a Swin backbone."""
    tokenizer = bert_tokenizer()
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=2,
            out_indices=[2, 3, 4],
        ),
        text_config=transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=64,
        ),
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=10, num_feature_levels=4, max_text_len=64,
    )  # fmt: skip
    processor = transformers.GroundingDinoProcessor(
        image_processor=transformers.GroundingDinoImageProcessor(
            size={"shortest_edge": 80, "longest_edge": 160}
        ),
        tokenizer=tokenizer,
    )
    torch.manual_seed(1)
    return save(folder, transformers.GroundingDinoForObjectDetection(config).eval(), processor)


def owlvit(folder: Path) -> str:
    """An OWL-ViT."""
    tokenizer = clip_tokenizer()
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.OwlViTConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        vision_config={**tower, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    processor = transformers.OwlViTProcessor(
        image_processor=transformers.OwlViTImageProcessor(
            size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}
        ),
        tokenizer=tokenizer,
    )
    torch.manual_seed(2)
    model = transformers.OwlViTForObjectDetection(config).eval()
    with torch.no_grad():
        model.box_head.dense2.weight.mul_(0.05)  # else every box fills the picture or nothing
    return save(folder, model, processor)


def detr(folder: Path) -> str:
    """A DETR with transformers' own ResNet for a backbone, which needs no timm."""
    config = transformers.DetrConfig(
        backbone_config=transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
            out_features=["stage4"],
        ),
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=10,
        id2label={0: "person", 1: "dog", 2: "car"}, label2id={"person": 0, "dog": 1, "car": 2},
    )  # fmt: skip
    images = transformers.DetrImageProcessor(size={"shortest_edge": 80, "longest_edge": 160})
    torch.manual_seed(3)
    model = transformers.DetrForObjectDetection(config).eval()
    with torch.no_grad():
        for layer in (model.bbox_predictor.layers[-1], model.class_labels_classifier):
            layer.weight.normal_(0.0, 2.0)  # else all queries say the same
        model.model.query_position_embeddings.weight.normal_(0.0, 3.0)
    return save(folder, model, images)


def clip(folder: Path) -> str:
    """A CLIP."""
    tokenizer = clip_tokenizer()
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config={**tower, **text, "pad_token_id": 0},
        vision_config={**tower, "image_size": 28, "patch_size": 14},
        projection_dim=24,
    )
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    return save(folder, built(transformers.CLIPModel, config), tokenizer, images)


def siglip(folder: Path) -> str:
    """A SigLIP; its real tokenizer is a sentencepiece one, this one splits bytes."""
    tokenizer = plain_tokenizer()
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.SiglipConfig(
        text_config={**tower, "vocab_size": len(tokenizer), "max_position_embeddings": 24, "bos_token_id": 1,
                     "eos_token_id": 2, "pad_token_id": 0,
                     "projection_size": 32},
        vision_config={**tower, "image_size": 28, "patch_size": 14},
    )  # fmt: skip
    images = transformers.SiglipImageProcessor(size={"height": 28, "width": 28})
    return save(folder, built(transformers.SiglipModel, config), tokenizer, images)


BUILDERS = {
    builder.__name__: builder
    for builder in (
        causal,
        gpt2,
        blip2,
        qwen2_vl,
        llava,
        vit_gpt2,
        grounding_dino,
        owlvit,
        detr,
        clip,
        siglip,
    )
}
