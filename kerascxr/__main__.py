"""python -m kerascxr VERB: what there is to do besides training."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from kerascxr.cli.logs import set_up_logging
from kerascxr.cli.start import report, start_tensorflow
from kerascxr.config import DataConfig, StudyConfig
from kerascxr.parsing import parse_config, parse_with


def _evaluate(argv: Sequence[str], prog: str) -> None:
    """Test a finished run on another set: evaluate RUN --data.source OTHER."""
    parser = ArgumentParser(prog=prog, description=_evaluate.__doc__, exit_on_error=False)
    parser.add_argument("run", type=Path, help="The folder of a finished run.")
    parser.add_argument(
        "--lungs", type=Path | None, help="A finished segmentation run, for a run with a roi."
    )
    parser.add_class_arguments(DataConfig, "data")
    values = parse_with(parser, argv)
    start_tensorflow()
    from kerascxr.audits.external import evaluate_run

    evaluate_run(values.run, values.data, values.lungs)


def _compare(argv: Sequence[str], prog: str) -> None:
    """Say which finished runs differ by more than chance: compare RUN RUN... [--to FOLDER]."""
    parser = ArgumentParser(prog=prog, description=_compare.__doc__, exit_on_error=False)
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    parser.add_argument("--to", type=Path | None, help="A folder for compare.md and compare.json.")
    values = parse_with(parser, argv)
    from kerascxr.evaluation.run_comparison import compare_runs

    print(compare_runs(values.runs, values.to))


def _data(argv: Sequence[str], prog: str) -> None:
    """Check and ingest a source: data --source SOURCE; or look for leaks: data audit SOURCE."""
    if argv and argv[0] == "audit":
        _audit_data(argv[1:], f"{prog} audit")
        return
    parser = ArgumentParser(prog=prog, description=_data.__doc__, exit_on_error=False)
    parser.add_class_arguments(DataConfig)
    values = parse_with(parser, argv)
    start_tensorflow()
    from kerascxr.training.inputs import open_data

    open_data(DataConfig(**values.as_dict()))


def _audit_data(argv: Sequence[str], prog: str) -> None:
    """Look for duplicates, leaks and shortcuts in a source: data audit SOURCE --to FOLDER."""
    parser = ArgumentParser(prog=prog, description=_audit_data.__doc__, exit_on_error=False)
    parser.add_argument("source", help="What --data.source takes.")
    parser.add_argument("--to", type=Path, default=Path("audit"), help="Folder of the audit.")
    unused = {"source", "features", "features_gb", "cache"}
    parser.add_class_arguments(DataConfig, skip=unused)
    values = parse_with(parser, argv).as_dict()
    to = values.pop("to")
    data = DataConfig(**values)
    from kerascxr.report.leakage import check_folder, headlines, write_audit

    check_folder(to)
    start_tensorflow()
    from kerascxr.audits.leakage import audit
    from kerascxr.data.ingest.store import open_store
    from kerascxr.data.sources.open import open_source

    source = open_source(
        data.source, phantom_images=data.phantom_images, phantom_seed=data.phantom_seed
    )
    found = audit(source, open_store(source, data.stores))
    page = write_audit(found, to)
    print("\n".join(headlines(found.summary)))
    print(f"Written: {page}")


def _export(argv: Sequence[str], prog: str) -> None:
    """Export a run for TF Serving: export RUN [--segmentation RUN2] --to FOLDER."""
    from kerascxr.serving.formats import FORMATS

    parser = ArgumentParser(prog=prog, description=_export.__doc__, exit_on_error=False)
    parser.add_argument("run", type=Path, help="The folder of a finished classification run.")
    parser.add_argument("--to", type=Path, required=True, help="The model's folder.")
    parser.add_argument(
        "--segmentation", type=Path | None, help="A finished segmentation run, for lung masks."
    )
    parser.add_argument(
        "--format",
        type=list[str],
        default=["saved_model"],
        help=f"One or several of saved_model, {', '.join(FORMATS)}, as [onnx,litert].",
    )
    values = parse_with(parser, argv)
    start_tensorflow()
    from kerascxr.serving.export import export_run
    from kerascxr.serving.export_formats import export_formats

    others = [name for name in values.format if name != "saved_model"]
    if "saved_model" in values.format:
        export_run(values.run, values.to, values.segmentation)
    if others:
        export_formats(values.run, values.to, others)


def _predict(argv: Sequence[str], prog: str) -> int:
    """Predict files, folders and globs into a table: predict RUN|EXPORT PATH... --to OUT.csv."""
    parser = ArgumentParser(prog=prog, description=_predict.__doc__, exit_on_error=False)
    parser.add_argument("model", type=Path, help="A finished run's folder, or an export.")
    parser.add_argument("paths", nargs="+", help="Image files, folders or globs; DICOM too.")
    parser.add_argument("--to", type=Path, required=True, help="The table: .csv or .parquet.")
    parser.add_argument(
        "--segmentation", type=Path | None, help="A finished segmentation run: adds lung_fraction."
    )
    parser.add_argument(
        "--overlays", type=Path | None, help="A folder for each image with its Grad-CAM."
    )
    values = parse_with(parser, argv)
    start_tensorflow()
    from kerascxr.serving.files import find_files
    from kerascxr.serving.predict import predict_files, report_unreadable
    from kerascxr.serving.predictors import load_lung_finder, load_predictor

    unreadable = predict_files(
        load_predictor(values.model),
        find_files(values.paths),
        values.to,
        lungs=load_lung_finder(values.segmentation) if values.segmentation else None,
        overlays=values.overlays,
    )
    report_unreadable(unreadable)
    print(f"Written: {values.to}")
    return 1 if unreadable else 0


def _report(argv: Sequence[str], prog: str) -> None:
    """Make one page, and tables, of finished runs: report RUNS... --to FOLDER."""
    parser = ArgumentParser(prog=prog, description=_report.__doc__, exit_on_error=False)
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    parser.add_argument("--to", type=Path, default=Path("report"), help="Folder of the report.")
    values = parse_with(parser, argv)
    from kerascxr.report.page import write_report
    from kerascxr.runs.reading import find_runs

    print(f"Written: {write_report(find_runs(values.runs), values.to)}")


def _robustness(argv: Sequence[str], prog: str) -> None:
    """Test a finished run on its test images made worse on purpose: robustness RUN."""
    parser = ArgumentParser(prog=prog, description=_robustness.__doc__, exit_on_error=False)
    parser.add_argument("run", type=Path, help="The folder of a finished run.")
    values = parse_with(parser, argv)
    start_tensorflow()
    from kerascxr.audits.robustness import measure_robustness

    measure_robustness(values.run)


def _study(argv: Sequence[str], prog: str) -> int:
    """Train six classifiers and the U-Net, then report: study [--config configs/study.yaml]."""
    config = parse_config(StudyConfig, argv, prog)
    start_tensorflow()
    from kerascxr.cli.study import run_study

    return 0 if run_study(config) else 1


def _audit(argv: Sequence[str], prog: str) -> None:
    """Look for shortcuts a classifier could take: audit RUN [--lungs RUN2]."""
    parser = ArgumentParser(prog=prog, description=_audit.__doc__, exit_on_error=False)
    parser.add_argument("run", type=Path, help="The folder of a finished classification run.")
    parser.add_argument(
        "--lungs",
        type=Path | None,
        help="A finished segmentation run that finds the lungs; else the source's masks.",
    )
    parser.add_argument(
        "--depth",
        type=Literal[0, 1, 2, "all"] | None,
        help="What learns in the battery's models; by default as in the run, at most 1.",
    )
    parser.add_argument("--epochs", type=int, default=10, help="How long they train.")
    values = parse_with(parser, argv)
    start_tensorflow()
    from kerascxr.audits.input_ablations import audit_run

    audit_run(values.run, values.lungs, values.depth, values.epochs)


VERBS: dict[str, Callable[[Sequence[str], str], int | None]] = {
    "audit": _audit,
    "compare": _compare,
    "data": _data,
    "evaluate": _evaluate,
    "export": _export,
    "predict": _predict,
    "report": _report,
    "robustness": _robustness,
    "study": _study,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    prog = "python -m kerascxr"
    lines = [f"  {name:<12}{verb.__doc__}" for name, verb in VERBS.items()]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {prog} VERB ...\n\n" + "\n".join(lines))
        return 0
    set_up_logging()
    name = arguments[0]
    if name not in VERBS:
        return report(prog, ValueError(f"unknown verb {name!r}. Known: {', '.join(VERBS)}."), 2)
    try:
        return VERBS[name](arguments[1:], f"{prog} {name}") or 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        return report(f"{prog} {name}", error, 2)


if __name__ == "__main__":
    sys.exit(main())
