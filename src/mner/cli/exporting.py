"""`mner export` and `mner calibrate`: what is done to a run after its training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import bars, err, out, print_json
from mner.cli.inputs import Source, convention_named, opened, supplied
from mner.errors import UsageError


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or 'default'.")],
    adapter: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write adapters and heads into: a few megabytes over the encoder's package."
        ),
    ] = None,
    onnx: Annotated[Path | None, typer.Option(help="ONNX file to write, which predicts alone.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write a model card into the run folder.")] = False,
    hub: Annotated[str | None, typer.Option(help="Name on the hub, as owner/name, to send it to.")] = None,
    license: Annotated[
        str | None, typer.Option(help="For card and hub: the licence it is given under.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="On the hub for everybody to see.")] = False,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Its weights in half the room.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Its matrix products in eight bits.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Data folder on which to say what the ONNX file costs in F1.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of it.")] = "valid",
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a run in another form."""
    if [adapter is not None, onnx is not None, card, hub is not None].count(True) != 1:
        raise UsageError(
            "What to export is not said.", expected="one of --adapter FOLDER, --onnx FILE, --card, --hub NAME"
        )
    if card or hub is not None:
        _publish(run, hub, license, public, as_json)
        return
    if adapter is not None:
        from mner.exporting import export_adapter

        size = export_adapter(run, adapter, overwrite=overwrite)
        if as_json:
            print_json({"folder": str(adapter), "bytes": size})
        else:
            out.print(f"{adapter}: {size / 1e6:.2f} MB", markup=False, soft_wrap=True)
        return
    assert onnx is not None
    if int8 and data is None:
        raise UsageError(
            "Eight bits cost accuracy, and how much is to be said.", expected="--data FOLDER with gold"
        )
    from mner.onnx.exporting import cost_of, export_onnx

    recognizer = opened(run, "cpu")
    size = export_onnx(recognizer, onnx, bfloat16=bfloat16, int8=int8, overwrite=overwrite)
    cost = None
    if data is not None:
        source = Source(data, split, label_map=label_map or ())
        posts = supplied(recognizer, source.posts(), knowledge)
        cost = cost_of(recognizer, onnx, posts, progress=bars)
    if as_json:
        print_json({"file": str(onnx), "bytes": size, "cost": cost.as_dict() if cost is not None else None})
        return
    out.print(f"{onnx}: {size / 1e6:.2f} MB", markup=False, soft_wrap=True)
    if cost is not None:
        out.print(
            f"F1 on {cost.posts} posts of {data} {split}: {100 * cost.before:.2f} before, "
            f"{100 * cost.after:.2f} as exported ({100 * (cost.after - cost.before):+.2f}); "
            f"other entities in {cost.other} posts.",
            markup=False,
            soft_wrap=True,
        )


def _publish(run: Path, hub: str | None, license: str | None, public: bool, as_json: bool) -> None:
    from mner.publishing import push_to_hub, save_card

    recognizer = opened(run, "cpu")
    if hub is None:
        written = str(save_card(recognizer, run, name=run.resolve().name, license=license))
    else:
        written = push_to_hub(recognizer, hub, run=run, private=not public, license=license)
    if as_json:
        print_json({"written": written})
    else:
        out.print(written, markup=False, soft_wrap=True)


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="A run folder; its settings get the temperature.")],
    data: Annotated[Path, typer.Option(help="Data folder.")],
    split: Annotated[str, typer.Option(help="Which split; not one to report scores on.")] = "valid",
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    device: options.Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a run say how sure it is: fit a temperature on validation posts, and keep it in the run."""
    from mner.evaluation.temperature import fit_temperature, measured
    from mner.recognizer import SETTINGS_FILE, read_json, write_json

    stray = convention_named(convention)
    recognizer = opened(run, device)
    posts = supplied(recognizer, Source(data, split, label_map=label_map or ()).posts(), knowledge)
    found: dict[str, float] = {}
    before = measured(recognizer, posts, stray, progress=bars)
    found["before"] = before.expected_error
    recognizer.temperature = fit_temperature(recognizer, posts, stray, progress=bars)
    found["after"] = measured(recognizer, posts, stray, progress=bars).expected_error
    settings = read_json(run / SETTINGS_FILE)
    write_json(run / SETTINGS_FILE, {**settings, "temperature": recognizer.temperature})
    if as_json:
        print_json({"run": str(run), "temperature": recognizer.temperature, "expected_error": found})
        return
    out.print(f"Temperature {recognizer.temperature:.3f}", markup=False)
    err.print(
        f"Expected calibration error on {len(posts)} posts of {split}: "
        f"{found['before']:.3f} before, {found['after']:.3f} with it.",
        markup=False,
    )
