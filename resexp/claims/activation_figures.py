"""The figure of the claim about activations: what is left of the gradient, and the loss, a row a net."""

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resexp.claims.activation_nets import NET_KINDS, NetResults
from resexp.claims.finding import measurement
from resexp.report.figures.style import KIND_COLOURS, LINE, SOFT, dress
from resexp.report.formatting import power


def cells_figure(results: NetResults, *, guess_loss: float) -> Figure:
    """Draw a row a net: what is left of the gradient (T, logarithmic) and, beside it, the loss in nats."""
    figure = Figure(figsize=(7.2, 0.27 * len(results) + 1.0), layout="constrained")
    gradient, loss = figure.subplots(1, 2, sharey=True)
    for axes in (gradient, loss):
        dress(axes)
        axes.grid(False, axis="y")
    names = list(results)
    for row, (name, of) in enumerate(results.items()):
        colour = KIND_COLOURS["residual" if "residual" in NET_KINDS.get(name.kind, {}).values() else "plain"]
        end = measurement("", of.losses, "")
        for axes, mean, interval in (
            (gradient, of.gradient.ratio, of.interval),
            (loss, end.mean, end.interval),
        ):
            if interval is not None:
                axes.plot(interval, [row, row], color=colour, linewidth=2.2, alpha=0.6, solid_capstyle="butt")
            if mean is not None:
                axes.plot([mean], [row], "o", color=colour, markersize=5, markeredgewidth=0)
        if row and name.activation != names[row - 1].activation:
            for axes in (gradient, loss):
                axes.axhline(row - 0.5, color=LINE, linewidth=0.8)
    means = [of.gradient.ratio for of in results.values() if of.gradient.ratio]
    low, high = min(1e-5, *means) / 30, max(1e4, *means) * 30
    gradient.set_xscale("log")
    gradient.set_xlim(low, high)
    for zone in ((low, 1e-3), (1e3, high)):
        gradient.axvspan(*zone, color=LINE, linewidth=0, alpha=0.5)
    gradient.axvline(1, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    gradient.xaxis.set_major_locator(LogLocator(numticks=5))
    gradient.xaxis.set_minor_locator(NullLocator())
    gradient.xaxis.set_major_formatter(lambda x, _: power(x))
    gradient.set_xlabel("T: gradient, first over last")
    loss.axvline(guess_loss, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    loss.set_xlim(max(0.0, loss.get_xlim()[0]), min(1.1 * guess_loss, loss.get_xlim()[1]))
    loss.set_xlabel("training loss (nats)")
    loss.xaxis.set_major_locator(MaxNLocator(5))
    gradient.set_yticks(range(len(names)), map(str, names))
    gradient.set_ylim(len(names) - 0.5, -0.5)
    return figure
