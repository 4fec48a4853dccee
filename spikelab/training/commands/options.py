"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataKind = Annotated[
    str,
    typer.Option(
        "--data",
        help="real, simulated (MNIST through a simulated sensor), synthetic (stand-in), or auto: real if it is there.",
    ),
]
PictureKind = Annotated[
    str, typer.Option("--data", help="real, synthetic (drawn stand-in), or auto: real if it is there.")
]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda.")]

WEIGHTS = "A .safetensors file, or the name of weights that come with spikelab, such as pets-ours-body"

# What every kind of training takes.
LEFT = "Share of the membrane that is left after a step; 1: all, no leak"
TrainLimit = Annotated[int, typer.Option(help="Use only so many training samples; 0: all.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training samples.")]
EvalBatch = Annotated[int, typer.Option(help="Samples of a step of an evaluation; 0: as --batch.")]
Lr = Annotated[float, typer.Option(help="Learning rate, the highest of the schedule.")]
Optimiser = Annotated[str, typer.Option(help="adam, adamw, sgd or adamax.")]
Scheduler = Annotated[str, typer.Option(help="Course of the learning rate: none, step, cosine or onecycle.")]
LrStep = Annotated[int, typer.Option(help="Epochs between the steps of --scheduler step.")]
LrGamma = Annotated[float, typer.Option(help="What each of those steps multiplies the rate by.")]
GradClip = Annotated[float, typer.Option(help="Largest norm of the gradient; 0: no limit.")]
WeightDecay = Annotated[float, typer.Option(help="Pull of the weights towards 0, as the optimiser defines it.")]
RateLow = Annotated[float, typer.Option(help="Firing rate below which a neuron pays, in spikes per step.")]
RateHigh = Annotated[float, typer.Option(help="Firing rate above which a neuron pays, in spikes per step.")]
RateWeight = Annotated[float, typer.Option(help="Weight of what neurons pay for their firing rates; 0: nothing.")]
Surrogate = Annotated[str, typer.Option(help="Surrogate gradient: atan, fast_sigmoid, sigmoid, boxcar or exponential.")]
Slope = Annotated[float, typer.Option(help="Slope or width of the surrogate gradient; 0: its own default.")]
Init = Annotated[
    str,
    typer.Option(
        help="Start from these weights, a .safetensors file or a name that comes with spikelab, as far as they fit."
    ),
]
Patience = Annotated[int, typer.Option(help="Stop after so many epochs without a better validation; 0: never.")]
MaxSeconds = Annotated[float, typer.Option(help="Stop training after so many seconds; 0: no limit.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of a process; 0: PyTorch's choice.")]
Amp = Annotated[bool, typer.Option("--amp", help="Layers in bfloat16, for a GPU or a CPU that has it.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, if there is one.")]
CheckpointS = Annotated[float, typer.Option(min=0, help="Seconds between checkpoints inside an epoch.")]
Export = Annotated[Path | None, typer.Option(help="Also write the best weights to this .safetensors file.")]
Half = Annotated[bool, typer.Option("--half", help="Store exported weights as float16.")]
ResultFile = Annotated[Path | None, typer.Option(help="Also write the result to this .json file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only say what came out.")]
