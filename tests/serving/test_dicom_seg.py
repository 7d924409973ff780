"""DICOM SEG files: what a reader finds in them by the standard, and what they refer to."""

import warnings

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from kerascxr import __version__
from kerascxr.data.dicom import DicomError
from kerascxr.serving.dicom_seg import is_frontal, write_dicom_seg
from tests.support.hostile_files import dicom

CR, DX, CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("1", "1.1", "7"))
MODEL = "5f" * 32
RIGHT, LEFT = np.zeros((50, 60), bool), np.zeros((50, 60), bool)
RIGHT[10:41, 6:24], LEFT[12:38, 37:53] = True, True


def xray(path, sop_class=CR, **tags):
    """Writes an X-ray of 50 x 60 pixels; a tag of None is left out."""
    known = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.5",
        "SeriesInstanceUID": "1.2.6",
        "Modality": "CR",
        "PatientID": "X-17",
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "19700102",
        "PatientSex": "F",
        "PatientAge": "050Y",
        "StudyDate": "20200102",
        "StudyTime": "101112",
        "StudyID": "9",
        "AccessionNumber": "A-1",
        "ReferringPhysicianName": "Roe^Ann",
        "InstanceNumber": "7",
    } | tags
    given = {name: value for name, value in known.items() if value is not None}
    path.write_bytes(dicom(bytes(3000), 50, 60, **given))
    return path


def read_frames(dataset):
    """Reads the frames as PS3.5 section 8.1.1 says: bits on end, the lowest of a byte first."""
    shape = (dataset.NumberOfFrames, dataset.Rows, dataset.Columns)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    return bits[: np.prod(shape)].reshape(shape).astype(bool)


def segments(dataset):
    """The frames by their segments' type codes."""
    codes = {
        item.SegmentNumber: item.SegmentedPropertyTypeCodeSequence[0].CodeValue
        for item in dataset.SegmentSequence
    }
    shared = dataset.SharedFunctionalGroupsSequence[0]  # holds what all frames have in common
    numbers = [
        (item if "SegmentIdentificationSequence" in item else shared)
        .SegmentIdentificationSequence[0]
        .ReferencedSegmentNumber
        for item in dataset.PerFrameFunctionalGroupsSequence
    ]
    frames = read_frames(dataset)
    return {codes[number]: frame for number, frame in zip(numbers, frames, strict=True)}


@pytest.mark.parametrize(
    ("sop_class", "tags"),
    [
        (CR, {}),
        (
            DX,
            {"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2], "PatientOrientation": ["L", "F"]},
        ),
        (DX, {"Modality": "DX", "FrameOfReferenceUID": "1.2.8", "PixelSpacing": [0.1, 0.1]}),
        (CAPTURE, {"Modality": "OT"}),
    ],
)
def test_each_lung_is_a_segment_that_refers_to_the_image(tmp_path, sop_class, tags):
    source = xray(tmp_path / "a.dcm", sop_class, **tags)
    write_dicom_seg(source, RIGHT | LEFT, tmp_path / "seg" / "a.dcm", MODEL)
    seg, image = pydicom.dcmread(tmp_path / "seg" / "a.dcm"), pydicom.dcmread(source)
    assert seg.SOPClassUID.name == "Segmentation Storage" and seg.Modality == "SEG"
    assert (seg.SegmentationType, seg.BitsAllocated, seg.Rows, seg.Columns) == ("BINARY", 1, 50, 60)
    found = segments(seg)
    assert list(found) == ["3341006", "44029006"]
    np.testing.assert_array_equal(found["3341006"], RIGHT)
    np.testing.assert_array_equal(found["44029006"], LEFT)
    for item in seg.SegmentSequence:
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        assert item.SegmentAlgorithmName == "kerascxr"
        algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmVersion == __version__ and MODEL in algorithm.AlgorithmParameters
    series = seg.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    places = [series.ReferencedInstanceSequence[0]]
    places += [
        item.DerivationImageSequence[0].SourceImageSequence[0]
        for item in seg.PerFrameFunctionalGroupsSequence
    ]
    for place in places:
        assert place.ReferencedSOPClassUID == sop_class
        assert place.ReferencedSOPInstanceUID == "1.2.3.4"
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge"):
        assert seg[name] == image[name]
    for name in ("StudyInstanceUID", "StudyID", "StudyDate", "AccessionNumber"):
        assert seg[name] == image[name]
    assert seg.SeriesInstanceUID != image.SeriesInstanceUID and seg.InstanceNumber == 7
    assert seg.ContentCreatorName == ""
    assert seg.get("FrameOfReferenceUID") == image.get("FrameOfReferenceUID")
    read = highdicom.seg.segread(tmp_path / "seg" / "a.dcm")
    lungs = read.get_pixels_by_source_instance(["1.2.3.4"], combine_segments=True)
    np.testing.assert_array_equal(lungs[0], RIGHT + 2 * LEFT.astype(np.uint8))


def test_no_message_quotes_what_names_a_patient(tmp_path, recwarn):
    warnings.simplefilter("always")
    source = xray(tmp_path / "a.dcm", PatientName="Doejane", PatientID="X-17" * 20)
    recwarn.clear()
    write_dicom_seg(source, RIGHT | LEFT, tmp_path / "seg.dcm", MODEL)
    assert not [str(item.message) for item in recwarn]
    source = xray(tmp_path / "a.dcm", PatientBirthDate="2 May 1970")
    with pytest.raises(DicomError, match="cannot take over") as caught:
        write_dicom_seg(source, RIGHT | LEFT, tmp_path / "seg.dcm", MODEL)
    assert "1970" not in str(caught.value) and "Unable to convert" in str(caught.value)


def test_uids_are_those_of_the_source_the_mask_and_the_model(tmp_path):
    def uids(mask=RIGHT | LEFT, model=MODEL, **tags):
        write_dicom_seg(xray(tmp_path / "a.dcm", **tags), mask, tmp_path / "seg.dcm", model)
        seg = pydicom.dcmread(tmp_path / "seg.dcm")
        organisation = seg.DimensionOrganizationSequence[0].DimensionOrganizationUID
        assert all(UID(uid).is_valid for uid in (seg.SOPInstanceUID, seg.SeriesInstanceUID))
        return seg.SOPInstanceUID, seg.SeriesInstanceUID, organisation

    first = uids()
    assert uids() == first
    for other in (uids(RIGHT), uids(SOPInstanceUID="1.2.3.5")):
        assert other[0] != first[0] and other[1] == first[1]
    for other in (uids(model="6e" * 32), uids(SeriesInstanceUID="1.2.7")):
        assert other[1] != first[1]
    assert uids(model="6e" * 32)[0] != first[0]


@pytest.mark.parametrize(
    ("view", "meaning", "frontal"),
    [
        ("", "", True),
        ("PA", "postero-anterior", True),
        ("AP LLD", "left lateral decubitus", True),
        ("RLD", "", True),
        ("LATERAL", "", False),
        ("xtable lateral", "", False),
        ("LAT", "", False),
        ("RL", "", False),
        ("LAO", "", False),
        ("RPO", "", False),
        ("", "left lateral", False),
        ("", "right anterior oblique", False),
    ],
)
def test_a_view_is_frontal_unless_the_file_names_another(view, meaning, frontal):
    header = pydicom.Dataset()
    header.ViewPosition = view
    if meaning:
        code = pydicom.Dataset()
        code.CodeMeaning = meaning
        header.ViewCodeSequence = [code]
    assert is_frontal(header) is frontal


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientOrientation": ["R", "F"]},
        {"PatientOrientation": ["A", "F"]},
        {"ViewPosition": "LL"},
    ],
)
def test_without_a_plain_frontal_view_there_is_one_segment(tmp_path, tags):
    write_dicom_seg(xray(tmp_path / "a.dcm", **tags), RIGHT | LEFT, tmp_path / "seg.dcm", MODEL)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    found = segments(seg)
    assert list(found) == ["39607008"]
    np.testing.assert_array_equal(found["39607008"], RIGHT | LEFT)


def test_lungs_that_cannot_be_distinguished_are_one_segment(tmp_path):
    middle = np.zeros((50, 60), bool)
    middle[10:40, 10:50] = True
    write_dicom_seg(xray(tmp_path / "a.dcm"), middle, tmp_path / "seg.dcm", MODEL)
    found = segments(pydicom.dcmread(tmp_path / "seg.dcm"))
    assert list(found) == ["39607008"] and (found["39607008"] == middle).all()


def test_a_lung_that_was_not_found_has_an_empty_segment(tmp_path):
    for mask in (RIGHT, RIGHT & LEFT):
        write_dicom_seg(xray(tmp_path / "a.dcm"), mask, tmp_path / "seg.dcm", MODEL)
        found = segments(pydicom.dcmread(tmp_path / "seg.dcm"))
        assert (found["3341006"] == mask).all() and not found["44029006"].any()


def test_a_file_without_patient_and_study_data_is_taken(tmp_path):
    names = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
    names += ("StudyID", "AccessionNumber", "ReferringPhysicianName", "InstanceNumber")
    source = xray(tmp_path / "a.dcm", **dict.fromkeys(names))
    write_dicom_seg(source, RIGHT | LEFT, tmp_path / "seg.dcm", MODEL)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.PatientID == "" and seg.InstanceNumber == 1


def test_what_cannot_be_referred_to_is_refused_and_nothing_is_written(tmp_path):
    source = xray(tmp_path / "a.dcm", StudyInstanceUID=None, SeriesInstanceUID=None)
    words = "has no SeriesInstanceUID and no StudyInstanceUID, which a DICOM SEG must refer to"
    with pytest.raises(DicomError, match=words):
        write_dicom_seg(source, RIGHT | LEFT, tmp_path / "seg.dcm", MODEL)
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(50, 60\). Got bool of"):
        write_dicom_seg(source, RIGHT[1:], tmp_path / "seg.dcm", MODEL)
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(50, 60\). Got uint8 of"):
        write_dicom_seg(source, RIGHT.astype(np.uint8), tmp_path / "seg.dcm", MODEL)
    assert not (tmp_path / "seg.dcm").exists()
