"""MGIPS-CL's equations 5 to 17 in loops over lists of numbers, one window at a time and without padding."""

from __future__ import annotations

import functools
import math
import operator

import torch


def linear(layer, vector):
    """W x + b of a list of numbers."""
    biases = [0.0] * layer.out_features if layer.bias is None else numbers(layer.bias)
    return [
        sum(map(operator.mul, row, vector)) + bias
        for row, bias in zip(numbers(layer.weight), biases, strict=True)
    ]


@functools.cache
def numbers(parameter):
    """A parameter as lists of numbers; parameters are told apart by identity."""
    return parameter.tolist()


def mlp(layers, vector):
    """A multilayer perceptron of one hidden layer."""
    hidden = [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in linear(layers[0], vector)]
    return linear(layers[2], hidden)


def softmax(logits):
    """Of a list of numbers."""
    highest = max(logits)
    exponents = [math.exp(logit - highest) for logit in logits]
    return [each / sum(exponents) for each in exponents]


def slow_excavator(module, guided, source, literal=False):
    """Eq. 5-8 for one row without padding: lists of lists of numbers (k x d) and (l x d)."""
    heads, width = module.resample.heads, len(guided[0])
    size = width // heads
    queries = [linear(module.resample.query, vector) for vector in guided]
    keys = [linear(module.resample.key, vector) for vector in source]
    values = [linear(module.resample.value, vector) for vector in source]
    features, joined = [], []
    for query, vector in zip(queries, guided, strict=True):
        read = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weights = softmax(
                [
                    sum(a * b for a, b in zip(query[part], key[part], strict=True)) / math.sqrt(size)
                    for key in keys
                ]
            )
            read += [
                sum(w * value[part][feature] for w, value in zip(weights, values, strict=True))
                for feature in range(size)
            ]
        features.append(mlp(module.encode_source, linear(module.linear_source, read)))
        other = mlp(module.encode_guided, linear(module.linear_guided, vector))
        joined.append([a * b for a, b in zip(features[-1], other, strict=True)])
    total = [[0.0] * width for _ in guided]
    if module.rows is not None:
        over_positions = softmax([linear(module.rows, vector)[0] for vector in joined])
        for row, weight in enumerate(over_positions):
            factor = weight * (1 if literal else len(guided))
            total[row] = [t + factor * f for t, f in zip(total[row], features[row], strict=True)]
    if module.columns is not None:
        for row, vector in enumerate(joined):
            over_features = softmax(linear(module.columns, vector))
            scale = 1 if literal else width
            total[row] = [
                t + scale * w * f for t, w, f in zip(total[row], over_features, features[row], strict=True)
            ]
    return [mlp(module.encode_output, vector) for vector in total]


def plus(one, other):
    """Two lists of vectors, position by position."""
    return [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(one, other, strict=True)]


def mean(vectors):
    """The mean of a list of vectors."""
    return [sum(each) / len(vectors) for each in zip(*vectors, strict=True)]


def cosine(a, b):
    """Of two vectors."""
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def slow_model(recognizer, posts):
    """z of every window (eq. 9-13), and both losses (eq. 14-17) of the batch, from the encoders' states."""
    model, config = recognizer.model, recognizer.model.config
    batch = recognizer.encode(posts, labelled=True)
    seen, masks = [], []
    handles = [
        model.mutual_attention.register_forward_hook(lambda *a: seen.append(a[2])),
        model.mutual_attention.register_forward_pre_hook(lambda _, a: masks.append((a[3], a[5], a[6]))),
    ]
    with torch.no_grad():
        output = model(batch)
        for handle in handles:
            handle.remove()
        (text, picture), (text_mask, picture_mask, rows) = seen[0], masks[0]
        picture = model.vision_encoder.post_layernorm(picture)
        if model.widening is not None:
            picture = model.widening(picture)
        words = [states[mask].tolist() for states, mask in zip(text, text_mask, strict=True)]
        parts = {
            int(row): states[mask].tolist()
            for row, states, mask in zip(rows, picture, picture_mask, strict=True)
        }
        states, texts, pictures = {}, {}, {}
        for row, before in enumerate(words):
            if row not in parts or not config.interweave:
                states[row] = texts[row] = before
                if row in parts:
                    pictures[row] = parts[row]
                continue
            after, woven = before, parts[row]
            for _ in range(config.interweave_encoders):
                woven = plus(woven, slow_excavator(model.image_guided, woven, after, config.literal))
                after = plus(after, slow_excavator(model.text_guided, after, woven, config.literal))
            states[row] = []
            for one, other in zip(before, after, strict=True):
                chances = plus([linear(model.gate.after, other)], [linear(model.gate.before, one)])[0]
                gate = [1 / (1 + math.exp(-chance)) for chance in chances]
                states[row].append([i * h + (1 - i) * t for i, h, t in zip(gate, one, other, strict=True)])
            texts[row], pictures[row] = after, woven
            if config.similarity == "interwoven":
                pictures[row] = plus(woven, slow_excavator(model.image_guided, woven, after, config.literal))
            else:
                texts[row], pictures[row] = before, parts[row]
        if model.similarity is None:
            return states, None, output, batch
        return states, slow_losses(model, posts, batch, texts, pictures), output, batch


def slow_losses(model, posts, batch, texts, pictures):
    """Eq. 14-17 over the windows' states."""
    config = model.config
    projected, shown = [], []
    for place in range(len(posts)):
        rows = [row for row, post in enumerate(batch.post_of_row.tolist()) if post == place]
        projected.append(linear(model.similarity.text, mean([mean(texts[row]) for row in rows])))
        own = [mean(pictures[row]) for row in rows if row in pictures]
        shown.append(linear(model.similarity.picture, mean(own)) if own else None)
    implicit, contrast, choosers = [], [], 0
    for place, text in enumerate(projected):
        different = {}
        for other, post in enumerate(posts):
            if shown[other] is not None:
                different.setdefault(post.image, other)
        if shown[place] is not None:
            different[posts[place].image] = place
        scores = {
            other: math.exp(cosine(text, shown[other]) / config.temperature) for other in different.values()
        }
        if shown[place] is not None:
            contrast.append(-math.log(scores[place] / sum(scores.values())))
        if not config.own_picture:
            scores.pop(place, None)
        if scores:
            best = sorted(scores.values(), reverse=True)[: config.positives]
            implicit.append(-math.log(sum(best) / sum(scores.values())))
        choosers += len(scores) > config.positives
    return (
        sum(implicit) / max(len(implicit), 1),
        sum(contrast) / max(len(contrast), 1),
        choosers,
    )
