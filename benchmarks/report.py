#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Tables and plots of benchmark results, beside those of other libraries.

    report.py RESULTS.json...                           the tables, as markdown
    report.py --docs docs/benchmarks.md RESULTS.json... writes them into the page, and plots beside it

RESULTS.json are files of the benchmark programs; what a later one says of a case replaces what an earlier one
said. A file of spconv's figures (an object with "lib", "gpu" and times by name) may be among them; with
--same-run its figures count as measured in the same run as the others. peers.json has figures of other runs.
Plots need matplotlib; without it there are tables alone.
"""
import argparse
import json
import math
import os
import sys

BEGIN = "<!-- benchmarks/report.py: begin -->"
END = "<!-- benchmarks/report.py: end -->"
SPCONV = "spconv 2.3.8"
NOTE = "†"  # marks what was not measured in the same run

# Names of cases in spconv's file: (case, workload, variant) by the beginning of a name there.
SPCONV_CASES = {
    "MinkUNet1.0/fp16/": ("MinkUNet 1.0", "semkitti", "fp16"),
    "MinkUNet0.5/fp16/": ("MinkUNet 0.5", "semkitti", "fp16"),
    "MinkUNet1.0nus/fp16/": ("MinkUNet 1.0", "nuscenes", "fp16"),
    "CenterPointEnc/fp16/": ("CenterPoint encoder", "ten sweeps", "fp16"),
    "bench120k/forward": ("spconv benchmark network", "spconv benchmark", "fp16"),
    "bench900k/forward": ("spconv benchmark network", "spconv benchmark x8", "fp16"),
    "voxelize/kitti": ("hard voxelize second_kitti", "semkitti", ""),
    "MinkUNet1.0/train_fp16": ("train MinkUNet 1.0", "semkitti", "fp16"),
    "MinkUNet0.5/train_fp16": ("train MinkUNet 0.5", "semkitti", "fp16"),
}
# The same of names that begin as one above does.
SPCONV_TRAINING = {
    "bench120k/forward+backward": ("train spconv benchmark network", "spconv benchmark", "fp16"),
    "bench900k/forward+backward": ("train spconv benchmark network", "spconv benchmark x8", "fp16"),
}
SPCONV_WORKLOADS = {"semkitti": "semkitti", "nus10sweep": "ten sweeps"}
SPCONV_MAPS = {"subm3": "map submanifold 3x3x3", "down2": "map strided k2 s2", "down3": "map strided k3 s2 p1"}
NETWORKS = ("MinkUNet 1.0", "MinkUNet 0.5", "CenterPoint encoder", "spconv benchmark network",
            "MinkUNet 1.0, points to labels", "SPVCNN 1.0, points to labels", "TRELLIS.2-shaped decoder")
LAYER_PARTS = ("forward", "backward data", "backward weight", "all gradients")  # after "submanifold 3x3x3 "


class ReportError(Exception):
    """Something that the user can do something about."""


def spconv_case(name):
    """The case that a figure of spconv's file belongs to, or None."""
    if name.endswith("+backward"):
        return SPCONV_TRAINING.get(name)
    for begin, case in SPCONV_CASES.items():
        if name.startswith(begin):
            return case
    parts = name.split("/")
    if parts[0] == "subm3" and len(parts) == 4:
        return ("submanifold 3x3x3", SPCONV_WORKLOADS.get(parts[1], parts[1]), parts[2] + " fp16")
    if parts[0] == "subm3" and len(parts) == 5 and parts[4] == "fwd+bwd":
        return ("submanifold 3x3x3 all gradients", SPCONV_WORKLOADS.get(parts[1], parts[1]), parts[2] + " fp16")
    if parts[0] == "map+conv16" and len(parts) == 3 and parts[1] in SPCONV_MAPS:
        return (SPCONV_MAPS[parts[1]], SPCONV_WORKLOADS.get(parts[2], parts[2]), "sorted")
    return None


class Figures:
    """Times of other libraries: {case: {peer: (milliseconds, same run)}}."""

    def __init__(self):
        self.times = {}
        self.busy = {}  # {case: {peer: the figure, of the profiler}}
        self.peaks = {}  # {case: {peer: (megabytes, same run)}}
        self.sources = []

    def add(self, case, peer, milliseconds, same_run):
        self.keep(self.times, case, peer, milliseconds, same_run)

    @staticmethod
    def keep(figures, case, peer, value, same_run):
        """The smallest of a peer's values, but rather one of the same run."""
        of_case = figures.setdefault(case, {})
        known = of_case.get(peer)
        if known is None or (same_run and not known[1]) or (same_run == known[1] and value < known[0]):
            of_case[peer] = (value, same_run)

    def add_peers(self, data):
        for part in data["sets"]:
            self.sources.append(f"{part['gpu']}, {part['date']}: {part['source']}")
            for figure in part["figures"]:
                case = (figure["case"], figure["workload"], figure["variant"])
                if "ms" in figure:
                    self.add(case, figure["peer"], figure["ms"], False)
                elif "peak_mb" in figure:
                    self.keep(self.peaks, case, figure["peer"], figure["peak_mb"], False)
                else:
                    self.busy.setdefault(case, {})[figure["peer"]] = figure

    def add_spconv(self, data, same_run):
        peer = SPCONV if data["lib"] == "spconv" else "spconv-triton 1.0.0"
        for name, value in data.items():
            case = spconv_case(name)
            if case and isinstance(value, list):  # a text says why there is no time
                self.add(case, peer, value[0], same_run)
            elif case and name.endswith("/peakMB"):
                self.keep(self.peaks, case, peer, value, same_run)

    def spconv(self, case):
        return self.times.get(case, {}).get(SPCONV)

    def best_other(self, case):
        """(milliseconds, peer, same run) of the fastest library but spconv."""
        others = [(time, peer, same) for peer, (time, same) in self.times.get(case, {}).items() if peer != SPCONV]
        return min(others, default=None)


class Results:
    """Results of the benchmark programs: by (case, workload, variant, method), in the order of the files."""

    def __init__(self):
        self.by_key = {}
        self.runs = []

    def add(self, data):
        run = {key: data.get(key, "") for key in ("program", "gpu", "driver", "cuda", "revision", "date")}
        self.runs.append(run)
        for result in data["results"]:
            key = tuple(result[part] for part in ("case", "workload", "variant", "method"))
            self.by_key[key] = result

    def gpus(self):
        return sorted({run["gpu"] for run in self.runs})

    def get(self, case, workload, variant, method):
        return self.by_key.get((case, workload, variant, method))

    def cases(self, wanted):
        """(case, workload, variant) of results whose case `wanted(case)`, each once."""
        return list(dict.fromkeys(key[:3] for key in self.by_key if wanted(key[0])))


def milliseconds(result, field="median_ms"):
    if result is None or field not in result:
        return "-"
    return number(result[field])


def number(value):
    """Three significant digits."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def integer(result, field):
    return "-" if result is None or field not in result else f"{result[field]:,}"


def fraction(result, field, form):
    return "-" if result is None or field not in result else form.format(result[field])


def percent(result):
    return fraction(result, "percent_of_floor", "{:.0f} %")


def peer_cell(figure, ours):
    """A peer's time, marked if of another run, and how many times ours it is."""
    if figure is None:
        return "-"
    time, same_run = figure[0], figure[-1]
    mark = "" if same_run else NOTE
    ratio = f" ({time / ours['median_ms']:.1f}x)" if ours else ""
    name = f" {figure[1]}" if len(figure) == 3 else ""
    return f"{number(time)}{mark}{name}{ratio}"


def table(head, rows):
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def network_rows(results):
    """(case, workload, precision) of every network, each once."""
    found = []
    for case, workload, variant in results.cases(lambda case: case in NETWORKS):
        row = (case, workload, variant.split()[-1])
        if row not in found:
            found.append(row)
    return found


def network_results(results, row):
    """Results of a network: unfused eager, fused eager, planned, planned back to back, tuned and planned."""
    case, workload, precision = row
    return tuple(
        results.get(case, workload, f"{variant} {precision}", method)
        for variant, method in (
            ("eager", "calls"),
            ("fused eager", "calls"),
            ("fused planned", "calls"),
            ("fused planned", "batched"),
            ("fused tuned planned", "calls"),
        )
    )


def networks_table(results, figures):
    rows, costs = [], []
    for row in network_rows(results):
        eager, fused, planned, batched, tuned = network_results(results, row)
        first = planned or fused or eager
        name = f"{row[0]} {row[2]}, {row[1]}"
        rows.append([
            name, integer(first, "rows"), milliseconds(eager), milliseconds(fused), milliseconds(planned),
            milliseconds(planned, "p99_ms"), milliseconds(batched), milliseconds(tuned),
            milliseconds(first, "floor_ms"), percent(planned), peer_cell(figures.spconv(row), planned or fused),
            peer_cell(figures.best_other(row), planned or fused),
        ])
        busy = figures.busy.get(row, {})
        cell = "; ".join(f"{peer}{NOTE}: {number(of['gpu_busy_ms'])} ms, {of['kernels']}, {of['host_syncs']}"
                         for peer, of in busy.items()) or "-"
        megabytes = [fraction({"MB": of["peak_bytes"] / 1e6} if of and "peak_bytes" in of else None, "MB", "{:.1f}")
                     for of in (fused, planned)]
        peaks = "; ".join(f"{peer}{'' if same else NOTE}: {value:.1f}"
                          for peer, (value, same) in figures.peaks.get(row, {}).items()) or "-"
        costs.append([name, integer(fused, "kernels"), integer(planned, "kernels"), integer(fused, "host_syncs"),
                      integer(planned, "host_syncs"), *megabytes, peaks, cell])
    text = table(["network", "voxels", "eager ms", "fused eager ms", "planned ms", "p99 ms", "planned, back to back ms",
                  "tuned, planned ms", "floor ms", "of the floor", "spconv ms", "fastest other ms"], rows)
    if rows:
        text += "\n" + table(["network", "kernels per frame: eager", "planned", "host syncs: eager", "planned",
                              "peak MB: eager", "planned", "peers: peak MB", "peers: GPU busy, kernels, host syncs per frame"], costs)
    return text


def layers_table(results, figures):
    rows = []
    for case in results.cases(lambda name: name == "submanifold 3x3x3"):
        calls, cold, graph = (results.get(*case, method) for method in ("calls", "cold", "graph"))
        first = calls or cold or graph
        best = graph or calls
        rows.append([
            f"{case[1]}, {case[2]}", integer(first, "rows"), milliseconds(calls), milliseconds(cold),
            milliseconds(graph), milliseconds(first, "floor_ms"), percent(best), fraction(best, "tflops", "{:.0f}"),
            fraction(best, "gather_gbs", "{:,.0f}"), fraction(first, "executed_ratio", "{:.2f}"),
            peer_cell(figures.spconv(case), calls), peer_cell(figures.best_other(case), calls),
        ])
    return table(["layer", "voxels", "call ms", "cold ms", "kernel ms", "floor ms", "of the floor", "TFLOP/s", "GB/s",
                  "executed / useful", "spconv ms", "fastest other ms"], rows)


def training_table(results, figures):
    """Networks in training: forward and backward pass, and whole steps with the optimizer's."""
    found = []
    for case, workload, variant in results.cases(lambda name: name.startswith("train ")):
        row = (case, workload, variant.split()[-1])
        if row not in found:
            found.append(row)
    rows = []
    for row in found:
        case, workload, precision = row
        passes, step, planned, batched = (
            results.get(case, workload, f"{variant} {precision}", method)
            for variant, method in (("eager", "calls"), ("eager step", "calls"), ("planned step", "calls"),
                                    ("planned step", "batched")))
        first = passes or step or planned
        megabytes = [fraction({"MB": of["peak_bytes"] / 1e6} if of and "peak_bytes" in of else None, "MB", "{:.0f}")
                     for of in (passes, planned)]
        peaks = "; ".join(f"{peer}{'' if same else NOTE}: {value:.0f}"
                          for peer, (value, same) in figures.peaks.get(row, {}).items()) or "-"
        rows.append([
            f"{case[len('train '):]} {precision}, {workload}", integer(first, "rows"), milliseconds(passes),
            milliseconds(step), milliseconds(planned), milliseconds(planned, "p99_ms"), milliseconds(batched),
            integer(planned, "kernels"), *megabytes, peaks, peer_cell(figures.spconv(row), passes),
            peer_cell(figures.best_other(row), passes),
        ])
    return table(["network", "voxels", "forward and backward ms", "step ms", "planned step ms", "p99 ms",
                  "planned, back to back ms", "kernels", "peak MB: eager", "planned step", "peers: peak MB", "spconv ms",
                  "fastest other ms"], rows)


def gradients_table(results, figures):
    """One layer's passes, as kernels in a graph, and all of them as calls."""
    rows = []
    for case in results.cases(lambda name: name == "submanifold 3x3x3 forward"):
        parts = {part: results.get(f"submanifold 3x3x3 {part}", case[1], case[2], "graph") for part in LAYER_PARTS}
        all_of_them = (f"submanifold 3x3x3 {LAYER_PARTS[-1]}", case[1], case[2])
        calls = results.get(*all_of_them, "calls")
        rows.append([
            f"{case[1]}, {case[2]}", integer(calls or parts["forward"], "rows"),
            *(milliseconds(parts[part]) for part in LAYER_PARTS), milliseconds(calls),
            peer_cell(figures.spconv(all_of_them), calls), peer_cell(figures.best_other(all_of_them), calls),
        ])
    return table(["layer", "voxels", "forward ms", "data gradient ms", "weight gradient ms", "all three ms",
                  "all three, calls ms", "spconv ms", "fastest other ms"], rows)


def simple_table(results, figures, first_column, wanted):
    rows = []
    for case in results.cases(wanted):
        calls, cold, graph = (results.get(*case, method) for method in ("calls", "cold", "graph"))
        first = calls or cold or graph
        best = min((of for of in (calls, graph) if of), key=lambda of: of["median_ms"], default=None)
        key = (case[0], case[1], "" if "voxelize" in case[0] else case[2].split(",")[0])
        compared = case[2] != "does not wait"
        rows.append([
            f"{case[0]}, {case[2]}, {case[1]}", integer(first, "rows"), milliseconds(calls), milliseconds(cold),
            milliseconds(graph), integer(best, "kernels"), integer(first, "host_syncs"),
            peer_cell(figures.spconv(key) if compared else None, calls),
            peer_cell(figures.best_other(key) if compared else None, calls),
        ])
    return table([first_column, "points" if first_column == "voxelization" else "voxels", "call ms", "cold ms",
                  "graph ms", "kernels", "host syncs", "spconv ms", "fastest other ms"], rows)


def report(results, figures, plots):
    """The markdown of all tables; `plots` are (title, file) of the pictures."""
    parts = []
    runs = dict.fromkeys(
        f"{run['gpu']}, driver {run['driver']}, CUDA {run['cuda']}, revision {run['revision'] or 'unknown'}, "
        f"{run['date'][:10]}" for run in results.runs)
    parts.append("Measured on: " + "; ".join(runs) + ".\n")
    for title, text in (
        ("Networks", networks_table(results, figures)),
        ("Layers", layers_table(results, figures)),
        ("Training", training_table(results, figures)),
        ("Gradients of layers", gradients_table(results, figures)),
        ("Kernel maps", simple_table(results, figures, "map", lambda case: case.startswith("map "))),
        ("Voxelization", simple_table(results, figures, "voxelization", lambda case: "voxelize" in case)),
    ):
        if text:
            picture = "".join(f"![{title}]({file})\n\n" for of, file in plots if of == title)
            parts.append(f"### {title}\n\n{picture}{text}")
    parts.append(f"{NOTE} Not measured in the same run; the ratio is of figures from two runs. Peers: "
                 + " ".join(figures.sources) + "\n")
    return "\n".join(parts)


def draw_bars(plt, path, title, groups, series):
    """Horizontal bars, a group of them for each case; `series` is [(label, color, [milliseconds or None])]."""
    figure, axes = plt.subplots(figsize=(9, 0.5 + 0.16 * len(groups) * (len(series) + 1)))
    for i, (label, color, values) in enumerate(series):
        places = [-(g * (len(series) + 1) + i) for g, value in enumerate(values) if value is not None]
        bars = axes.barh(places, [value for value in values if value is not None], color=color, label=label)
        axes.bar_label(bars, [number(value) for value in values if value is not None], padding=2, fontsize=6)
    middle = (len(series) - 1) / 2
    axes.set_yticks([-(g * (len(series) + 1) + middle) for g in range(len(groups))], groups, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, log scale")
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.1)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def draw(results, figures, stem):
    """Writes the plots `stem`_networks.svg and `stem`_layers.svg; returns their titles and file names."""
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("report.py: there is no matplotlib, so no plots", file=sys.stderr)
        return []
    matplotlib.rcParams["svg.hashsalt"] = "tessera"
    median = lambda result: result["median_ms"] if result else None
    floor = lambda result: result.get("floor_ms") if result else None
    time = lambda figure: figure[0] if figure else None
    plots = []
    rows = network_rows(results)
    if rows:
        found = [network_results(results, row) for row in rows]
        draw_bars(plt, f"{stem}_networks.svg", "One frame, kernel maps included", [f"{r[0]} {r[2]}\n{r[1]}" for r in rows], [
            ("floor", "#bbbbbb", [floor(of[2] or of[1] or of[0]) for of in found]),
            ("Tessera, planned", "#1b7837", [median(of[2]) for of in found]),
            ("Tessera, eager", "#7fbf7b", [median(of[1] or of[0]) for of in found]),
            ("spconv", "#762a83", [time(figures.spconv(row)) for row in rows]),
            ("fastest other" + NOTE, "#af8dc3", [time(figures.best_other(row)) for row in rows]),
        ])
        plots.append(("Networks", os.path.basename(f"{stem}_networks.svg")))
    rows = results.cases(lambda name: name == "submanifold 3x3x3")
    if rows:
        found = [[results.get(*row, method) for method in ("calls", "graph")] for row in rows]
        draw_bars(plt, f"{stem}_layers.svg", "One submanifold 3x3x3 convolution", [f"{r[1]}, {r[2]}" for r in rows], [
            ("floor", "#bbbbbb", [floor(of[0] or of[1]) for of in found]),
            ("Tessera, kernel", "#1b7837", [median(of[1]) for of in found]),
            ("Tessera, call", "#7fbf7b", [median(of[0]) for of in found]),
            ("spconv", "#762a83", [time(figures.spconv(row)) for row in rows]),
            ("fastest other" + NOTE, "#af8dc3", [time(figures.best_other(row)) for row in rows]),
        ])
        plots.append(("Layers", os.path.basename(f"{stem}_layers.svg")))
    return plots


def replace_between_markers(page, text):
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 or end < begin:
        raise ReportError(f"the page lacks the lines {BEGIN} and {END}")
    return page[:begin + len(BEGIN)] + "\n\n" + text + "\n" + page[end:]


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: {error}") from error


def run(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="RESULTS.json")
    parser.add_argument("--docs", metavar="PAGE", help="markdown page to write into, between its markers")
    parser.add_argument("--plots", metavar="STEM", help="write STEM_networks.svg and STEM_layers.svg; "
                        "by default the page's path without its ending")
    parser.add_argument("--same-run", action="store_true", help="spconv's file was measured in the same run")
    parser.add_argument("--peers", metavar="FILE", help="figures of other runs; by default peers.json beside this script",
                        default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.json"))
    options = parser.parse_args(arguments)

    results, figures, spconv = Results(), Figures(), []
    for path in options.results:
        data = read_json(path)
        if isinstance(data, dict) and str(data.get("format", "")).startswith("tessera benchmark"):
            results.add(data)
        elif isinstance(data, dict) and "lib" in data:
            spconv.append((path, data))
        else:
            raise ReportError(f"{path}: neither results of a benchmark program nor figures of spconv")
    if not results.runs:
        raise ReportError("no results of a benchmark program among the files")
    figures.add_peers(read_json(options.peers))
    for path, data in spconv:
        if options.same_run and [data.get("gpu")] != results.gpus():
            raise ReportError(f"{path}: measured on {data.get('gpu')}, not in the same run as on {', '.join(results.gpus())}")
        figures.add_spconv(data, options.same_run)

    stem = options.plots
    if options.docs:
        with open(options.docs, encoding="utf-8") as file:
            page = file.read()
        replace_between_markers(page, "")  # refused before anything is written
        stem = stem or os.path.splitext(options.docs)[0]
    text = report(results, figures, draw(results, figures, stem) if stem else [])
    if not options.docs:
        print(text, end="")
        return
    with open(options.docs, "w", encoding="utf-8") as file:
        file.write(replace_between_markers(page, text))


if __name__ == "__main__":
    try:
        run(sys.argv[1:])
    except ReportError as error:
        sys.exit(f"report.py: {error}")
