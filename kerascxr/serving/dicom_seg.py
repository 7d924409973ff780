"""Lung masks as DICOM segmentation objects (DICOM SEG) that refer to their source image.

Source:
    DICOM PS3.3, sections A.51 and C.8.20; the codes are those of SNOMED CT in PS3.16.
"""

import uuid
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr import __version__
from kerascxr.data.dicom import DicomError, open_dicom, reason
from kerascxr.evaluation.lung_areas import LEFT, RIGHT, lung_sides
from kerascxr.names import listed
from kerascxr.runs.atomic import replacing

_NAME = "kerascxr"
_LUNG = ("39607008", "Lung")
_LUNGS = {RIGHT: ("3341006", "Right lung"), LEFT: ("44029006", "Left lung")}
_ANATOMY = ("91723000", "Anatomical Structure")
_ARTIFICIAL_INTELLIGENCE = ("123110", "Artificial Intelligence")
_SERIES_NUMBER = 9000  # beyond what devices count up to
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientOrientation"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
# Values of ViewPosition, lateral and oblique: the standard's, and others that devices write.
_NOT_FRONTAL = ("LL", "RL", "LLO", "RLO", "LAT", "LAO", "RAO", "LPO", "RPO")
_NOT_FRONTAL_WORDS = ("LATERAL", "OBLIQUE")
_FRONTAL_WORD = "DECUBITUS"  # the patient lies on a side, and is seen from the front or the back


def write_dicom_seg(source: Path, mask: np.ndarray, path: Path, model: str) -> None:
    """Writes the lung mask of a DICOM image as a binary DICOM segmentation object.

    It has the segments "Right lung" and "Left lung" (the patient's), or one "Lung" where they
    cannot be distinguished or ``is_frontal`` is false. The same source, mask and model give the
    same UIDs.

    Args:
        source: The image's DICOM file.
        mask: The lungs at the image's own size, bool ``(rows, columns)``.
        path: The file to write; it appears only when it is complete.
        model: What identifies the model, e.g. a SHA-256 of its file and its threshold.

    Raises:
        DicomError: If the source is damaged, lacks what a segmentation must refer to, or holds
            values that cannot be copied.
        ValueError: If the mask is not of the source's size.
    """
    header = open_dicom(source, pixels=False)
    size = (int(header.get("Rows", 0)), int(header.get("Columns", 0)))
    if mask.dtype != bool or mask.shape != size:
        raise ValueError(
            f"mask must be bool of shape {size}. Got {mask.dtype} of shape={mask.shape}."
        )
    missing = [name for name in _NEEDED if not header.get(name)]
    if missing:
        raise DicomError(
            f"has {listed(f'no {name}' for name in missing)}, which a DICOM SEG must refer to"
        )
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    try:
        segmentation = _segmentation(header, mask, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            segmentation.save_as(partial)
    except OSError:
        raise
    except Exception as error:  # pydicom and highdicom raise of any kind on values out of order
        text = f"holds values that a DICOM SEG cannot take over ({reason(error)})"
        raise DicomError(text) from error


def is_frontal(header: Any) -> bool:
    """Returns whether no element contradicts a frontal view with the right lung on the left.

    PatientOrientation's first value is the direction of the rows: "L" where they run to the
    patient's left. The view is named by ViewPosition or by ViewCodeSequence.

    Args:
        header: A DICOM file's elements, from ``open_dicom``.
    """
    codes = header.get("ViewCodeSequence") or ()
    views = [header.get("ViewPosition"), *(code.get("CodeMeaning") for code in codes)]
    for view in (str(view or "").upper() for view in views):
        named = any(word in view for word in _NOT_FRONTAL_WORDS) and _FRONTAL_WORD not in view
        if named or view.strip() in _NOT_FRONTAL:
            return False
    orientation = header.get("PatientOrientation") or ["L"]
    return str(orientation[0]).startswith("L")


def _segmentation(header: Any, mask: np.ndarray, model: str) -> Any:
    import highdicom  # takes a second or two

    sides = lung_sides(mask) if is_frontal(header) else None
    segments = dict(_LUNGS) if sides is not None else {1: _LUNG}
    pixels = mask.astype(np.uint8) if sides is None else sides
    known = (_NAME, __version__, model, header.SOPInstanceUID, pixels.tobytes().hex())
    segmentation = highdicom.seg.Segmentation(
        source_images=[header],
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(number, code, name, model) for number, (code, name) in segments.items()
        ],
        series_instance_uid=_uid("series", _NAME, __version__, model, header.SeriesInstanceUID),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=_uid("instance", *known),
        instance_number=int(header.get("InstanceNumber") or 1),
        manufacturer=_NAME,
        manufacturer_model_name=f"{_NAME} lung segmentation",
        software_versions=__version__,
        device_serial_number=model[:64],
        omit_empty_frames=False,  # a lung that was not found has an empty frame
        content_label="LUNGS",
        content_description="Lung mask, computed without review",
        series_description="Lung masks",
    )
    segmentation.PatientOrientation = header.PatientOrientation
    segmentation.ContentCreatorName = ""  # must be there, and may be empty
    for shared in segmentation.SharedFunctionalGroupsSequence:
        # A projection has no SliceThickness, without which highdicom cannot read the pixels' size
        # that it wrote. That of the source image, which each frame refers to, is the same.
        if "SliceThickness" not in shared.get("PixelMeasuresSequence", [{}])[0]:
            shared.pop("PixelMeasuresSequence", None)
    dimensions = _uid("dimensions", *known)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    return segmentation


def _description(number: int, code: str, name: str, model: str) -> Any:
    import highdicom
    from highdicom.sr import CodedConcept

    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=CodedConcept(_ANATOMY[0], "SCT", _ANATOMY[1]),
        segmented_property_type=CodedConcept(code, "SCT", name),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=_NAME,
            family=CodedConcept(_ARTIFICIAL_INTELLIGENCE[0], "DCM", _ARTIFICIAL_INTELLIGENCE[1]),
            version=__version__,
            parameters={"model": model},
        ),
    )


def _uid(*parts: str) -> str:
    """Returns the UID of a name: always the same one, of the root for UUIDs (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '|'.join(map(str, parts))).int}"
