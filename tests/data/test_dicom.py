"""DICOM files become the picture that a screen would show, whatever way they store it."""

import csv
import hashlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from kerascxr.data.dicom import DicomError, patient_group, read_dicom
from kerascxr.data.files import ImageFileError, group_in, read_grey, spacing_in
from kerascxr.data.ingest.store import open_store
from kerascxr.data.sources.open import open_source

RAMP = np.linspace(0, 4095, 24 * 20).reshape(24, 20).astype(np.uint16)


def write(path, values=RAMP, *, bits=12, kind="MONOCHROME2", syntax=ExplicitVRLittleEndian, **tags):
    """Writes an X-ray of one frame; ``tags`` are more of its elements."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = (
        syntax if syntax != RLELossless else ExplicitVRLittleEndian
    )
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName = "X-17", "Doe^Jane"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = kind
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in tags.items():
        setattr(dataset, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW" if values.dtype.itemsize == 2 else "OB"
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    dataset.save_as(path, enforce_file_format=True)
    return path


def window(values, center, width):
    """Returns PS3.3 C.11.2.1.2's linear window, 0..255."""
    x = (values.astype(float) - (center - 0.5)) / (width - 1) + 0.5
    return np.rint(np.clip(x, 0, 1) * 255)


PLAIN = np.rint(RAMP / 4095 * 255)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
)
def test_without_a_window_its_own_values_are_the_range(tmp_path, syntax):
    grey = read_grey(write(tmp_path / "a.dcm", syntax=syntax))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, PLAIN)


def test_monochrome1_is_turned_round(tmp_path):
    grey = read_grey(write(tmp_path / "a.dcm", kind="MONOCHROME1"))
    np.testing.assert_array_equal(grey, 255 - PLAIN)


def test_a_window_is_applied_after_the_rescaling(tmp_path):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 1500, "WindowWidth": 3000}
    grey = read_grey(write(tmp_path / "a.dcm", **tags))
    expected = window(RAMP.astype(float) * 2 - 1000, 1500, 3000)
    assert np.abs(grey.astype(float) - expected).max() <= 1
    assert grey.min() == 0 and grey.max() == 255


def test_a_rescaling_alone_changes_nothing_that_is_seen(tmp_path):
    grey = read_grey(write(tmp_path / "a.dcm", RescaleSlope=0.5, RescaleIntercept=-200))
    np.testing.assert_array_equal(grey, PLAIN)


def test_a_window_is_not_turned_round_by_a_negative_slope(tmp_path):
    tags = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    plain = read_grey(write(tmp_path / "a.dcm", **tags))
    np.testing.assert_array_equal(plain, 255 - PLAIN)
    grey = read_grey(write(tmp_path / "b.dcm", WindowCenter=2048, WindowWidth=4096, **tags))
    np.testing.assert_array_equal(grey, plain)


@pytest.mark.parametrize(
    "more",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 2},
        {"RescaleSlope": -2, "RescaleIntercept": None},
        {"RescaleIntercept": -1024},
        {"VOILUTFunction": ""},
    ],
)
def test_an_empty_attribute_and_half_of_a_rescaling_count_as_absent(tmp_path, more):
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    expected = read_grey(write(tmp_path / "a.dcm", **window))
    np.testing.assert_array_equal(read_grey(write(tmp_path / "b.dcm", **window, **more)), expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_without_a_window_padding_is_not_in_the_range(tmp_path, syntax):
    picture = np.array([[1000, 1200], [1400, 1500]], np.uint16)
    expected = np.rint((picture - 1000.0) / 500 * 255)
    for value, limit in ((0, None), (4095, None), (4000, 4095), (4095, 4000)):
        padded = np.pad(picture, 1, constant_values=value)
        tags = {"PixelPaddingValue": value}
        tags |= {} if limit is None else {"PixelPaddingRangeLimit": limit}
        grey = read_grey(write(tmp_path / "a.dcm", padded, syntax=syntax, **tags))
        np.testing.assert_array_equal(grey[1:-1, 1:-1], expected)
        assert (grey[0] == (0 if value == 0 else 255)).all()


def test_padding_may_be_written_as_an_unsigned_number(tmp_path):
    picture = np.array([[-100, 400]], np.int16)
    padded = np.pad(picture, 1, constant_values=-2000)
    path = write(tmp_path / "a.dcm", padded, bits=16)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_grey(path)[1:-1, 1:-1], [[0, 255]])


def test_a_picture_of_one_value_beside_padding_keeps_its_range(tmp_path):
    values = np.array([[0, 1], [1, 0]], np.uint16)
    grey = read_grey(write(tmp_path / "a.dcm", values, PixelPaddingValue=0))
    np.testing.assert_array_equal(grey, 255 * values)


def test_a_voi_lut_is_applied(tmp_path):
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [4096, 0, 8]
    lut.LUTData = (255 - np.arange(4096) // 16).astype(np.uint16).tobytes()
    lut["LUTData"].VR = "OW"
    grey = read_grey(write(tmp_path / "a.dcm", VOILUTSequence=[lut]))
    np.testing.assert_array_equal(grey, 255 - RAMP // 16)


def test_signed_and_16_bit_values(tmp_path):
    signed = (RAMP.astype(np.int32) - 2048).astype(np.int16)
    np.testing.assert_array_equal(read_grey(write(tmp_path / "a.dcm", signed)), PLAIN)
    wide = np.linspace(0, 65535, 480).reshape(24, 20).astype(np.uint16)
    grey = read_grey(write(tmp_path / "b.dcm", wide, bits=16))
    np.testing.assert_array_equal(grey, np.rint(wide / 65535 * 255))


def test_colour_becomes_luma(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    grey = read_grey(write(tmp_path / "a.dcm", colour, bits=8, kind="RGB"))
    np.testing.assert_array_equal(grey, np.rint(colour @ [0.299, 0.587, 0.114]))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("CT_small.dcm", (128, 128)), ("MR_small_RLE.dcm", (64, 64)), ("JPEG2000.dcm", (1024, 256))],
)
def test_pydicoms_own_files(name, shape):
    grey = read_grey(get_testdata_file(name, download=False))
    assert grey.shape == shape
    assert grey.std() > 5


def test_a_compressed_file_shows_what_the_plain_one_shows():
    plain, packed = (
        read_grey(get_testdata_file(name, download=False))
        for name in ("MR_small.dcm", "MR_small_RLE.dcm")
    )
    np.testing.assert_array_equal(plain, packed)


def test_the_spacing_of_pixels_is_the_patients_before_the_detectors(tmp_path):
    detector = {"ImagerPixelSpacing": [0.2, 0.1]}
    patient = {"PixelSpacing": [0.18, 0.09], "PixelSpacingCalibrationType": "GEOMETRY"}
    film = {"NominalScannedPixelSpacing": [0.3, 0.3]}
    magnified = {"EstimatedRadiographicMagnificationFactor": "1.1"}
    calibrated = spacing_in(write(tmp_path / "a.dcm", **film, **detector, **patient))
    assert calibrated == (0.18, 0.09, "PixelSpacing", "GEOMETRY")
    raw = spacing_in(write(tmp_path / "b.dcm", **film, **detector, **magnified))
    assert raw == (0.2, 0.1, "ImagerPixelSpacing", "")
    scanned = spacing_in(write(tmp_path / "c.dcm", **film))
    assert scanned == (0.3, 0.3, "NominalScannedPixelSpacing", "")
    assert spacing_in(write(tmp_path / "d.dcm")) is None


@pytest.mark.parametrize(
    "text",
    [
        "0\\0.1",
        "-0.1\\0.1",
        "0.1",
        "0.1\\0.1\\0.1",
        "0.1\\a",
        "nan\\nan",
        "0.1\\0",
        "inf\\1",
        "1\\inf",
    ],
)
def test_a_spacing_that_makes_no_sense_is_not_used(tmp_path, messages, text):
    path = write(tmp_path / "a.dcm", ImagerPixelSpacing=[0.2, 0.2])
    dataset = pydicom.dcmread(path)
    data = text.encode() + b" " * (len(text) % 2)
    dataset[0x0028, 0x0030] = RawDataElement(
        BaseTag(0x00280030), "DS", len(data), data, 0, False, True
    )
    dataset.save_as(path)
    assert data in path.read_bytes()
    assert spacing_in(path) == (0.2, 0.2, "ImagerPixelSpacing", "")
    (message,) = messages()
    assert message.startswith(f"{path}: PixelSpacing is not two positive numbers (")
    assert "\n" not in message


def test_an_empty_spacing_is_none(tmp_path, messages):
    path = write(tmp_path / "a.dcm", PixelSpacing="", ImagerPixelSpacing=None)
    assert spacing_in(path) is None and not messages()


def test_the_resolution_of_a_picture_is_no_physical_spacing(tmp_path):
    grey = Image.fromarray(np.zeros((4, 5), np.uint8))
    for suffix in ("png", "tif", "jpg"):
        grey.save(tmp_path / f"a.{suffix}", dpi=(254, 254))
        assert "dpi" in Image.open(tmp_path / f"a.{suffix}").info
        assert spacing_in(tmp_path / f"a.{suffix}") is None


def test_what_cannot_be_used_is_said_in_a_line(tmp_path):
    several = np.zeros((2, 4, 5), np.uint8)
    path = write(tmp_path / "film.dcm", several[0], bits=8, NumberOfFrames=2)
    cases = {path: "holds 2 frames"}
    huge = write(tmp_path / "huge.dcm", Rows=60_000, Columns=60_000)
    cases[huge] = "claims 60000 x 60000 pixels, not 1 to 80 million"
    cut = write(tmp_path / "cut.dcm")
    cut.write_bytes(cut.read_bytes()[:-300])
    cases[cut] = "cannot be decoded"
    dataset = pydicom.dcmread(write(tmp_path / "note.dcm"))
    del dataset.PixelData
    dataset.save_as(tmp_path / "note.dcm")
    cases[tmp_path / "note.dcm"] = "without an image"
    for path, words in cases.items():
        with pytest.raises(ImageFileError, match=words) as raised:
            read_grey(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_patient_and_spacing_come_along_and_nothing_else_of_the_patient_is_kept(tmp_path):
    random = np.random.default_rng(0)
    for label in ("A", "B"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(40):
            pixels = random.integers(0, 4096, (20, 20)).astype(np.uint16)
            write(
                tmp_path / "set" / label / f"{index}.dcm",
                pixels,
                PatientID=f"number {label}-{index // 2}",
                PatientName="Doe^Jane",
                ImagerPixelSpacing=[0.1, 0.2] if label == "A" else None,
            )
    source = open_source(str(tmp_path / "set"), phantom_images=1, phantom_seed=0)
    store = open_store(source, tmp_path / "stores")
    assert store.spacings((10, 10)) == {
        row["id"]: (0.2, 0.4) for row in store.rows if row["label"] == "A"
    }
    groups = {}
    for row in store.rows:
        label, number = row["id"].split("/")
        groups.setdefault((label, int(number) // 2), set()).add((row["group"], row["fold"]))
    assert len(groups) == 40
    assert all(len(found) == 1 for found in groups.values())
    assert len({group for found in groups.values() for group, _ in found}) == 40
    for path in store.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"Doe^Jane" not in data and b"number A-1" not in data, path
    with (store.path / "examples.csv").open(newline="") as file:
        assert "PatientID" not in next(csv.reader(file))
    assert group_in(tmp_path / "set" / "A" / "0.dcm") == group_in(tmp_path / "set" / "A" / "1.dcm")


def lut_of(values, first=0, bits=16):
    """A lookup table as DICOM stores one, of 16-bit entries."""
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [len(values), first, bits]
    lut.LUTData = np.asarray(values, np.uint16).tobytes()
    lut["LUTData"].VR = "OW"
    return lut


def test_a_window_is_of_the_values_after_a_modality_lut(tmp_path):
    stretched = np.rint(65535 * np.sqrt(np.arange(4096) / 4095)).astype(int)
    tags = {"ModalityLUTSequence": [lut_of(stretched)]}
    path = write(tmp_path / "a.dcm", WindowCenter=30_000, WindowWidth=50_000, **tags)
    expected = window(stretched[RAMP], 30_000, 50_000)
    assert np.abs(read_grey(path).astype(float) - expected).max() <= 1
    assert set(np.unique(expected)) >= {0, 255}
    path = write(tmp_path / "b.dcm", WindowCenter=32_768, WindowWidth=65_536, **tags)
    np.testing.assert_array_equal(read_grey(path), np.rint(stretched[RAMP] / 65535 * 255))


def test_a_window_of_all_stored_values_changes_no_8_bit_image(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = write(tmp_path / "a.dcm", values, bits=8, WindowCenter=128, WindowWidth=256)
    np.testing.assert_array_equal(read_grey(path), values)
    signed = (values.astype(int) - 128).astype(np.int8)
    path = write(tmp_path / "b.dcm", signed, bits=8, WindowCenter=0, WindowWidth=256)
    np.testing.assert_array_equal(read_grey(path), values)


def test_entries_of_a_voi_lut_beyond_its_stated_bits_are_white(tmp_path):
    lut = lut_of(np.arange(4096) // 8, bits=8)
    grey = read_grey(write(tmp_path / "a.dcm", VOILUTSequence=[lut]))
    np.testing.assert_array_equal(grey, np.minimum(RAMP // 8, 255))


def test_the_largest_image_is_taken_and_one_more_pixel_is_not(tmp_path):
    path = write(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_dicom(path, RAMP.size), PLAIN)
    with pytest.raises(DicomError, match="claims 20 x 24 pixels"):
        read_dicom(path, RAMP.size - 1)
    dataset = pydicom.dcmread(path)
    del dataset.Rows
    dataset.save_as(path)
    with pytest.raises(DicomError, match="claims 20 x 0 pixels, not 1 to 80 million"):
        read_dicom(path, 80_000_000)


def test_other_colours_a_deflated_and_a_damaged_file_are_named(tmp_path, monkeypatch):
    palette = np.zeros((4, 5), np.uint8)
    path = write(tmp_path / "a.dcm", palette, bits=8, kind="PALETTE COLOR")
    with pytest.raises(DicomError, match=r"^has the colours PALETTE COLOR, which are not read$"):
        read_dicom(path, 100)
    path = write(tmp_path / "b.dcm", syntax=DeflatedExplicitVRLittleEndian)
    for read in (patient_group, lambda path: read_dicom(path, 1000)):
        with pytest.raises(DicomError, match=r"^is a DICOM file deflated as a whole, which is not"):
            read(path)

    def refuse(*given, **more):
        raise ValueError("of any\n  kind")

    monkeypatch.setattr(pydicom, "dcmread", refuse)
    with pytest.raises(DicomError, match=r"^is a damaged DICOM file \(of any kind\)$"):
        patient_group(write(tmp_path / "c.dcm"))


def test_a_patients_group_is_the_digest_of_the_id_without_spaces_around_it(tmp_path):
    expected = f"patient-{hashlib.sha256(b'X-17').hexdigest()[:16]}"
    for patient in ("X-17", " X-17", "X-17 "):
        assert patient_group(write(tmp_path / "a.dcm", PatientID=patient)) == expected
    assert patient_group(write(tmp_path / "a.dcm", PatientID="X-18")) != expected
    for patient in ("", " ", None):
        assert patient_group(write(tmp_path / "a.dcm", PatientID=patient)) == ""


@pytest.mark.parametrize("bits", [1, 8, 9, 10, 12, 16])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_lut_may_have_more_entries_than_the_image_has_values_and_any_depth(
    tmp_path, sequence, bits
):
    values = np.linspace(0, 1023, 480).reshape(24, 20).astype(np.uint16)
    entries = np.rint((2**bits - 1) * np.sqrt(np.arange(4096) / 1023).clip(0, 1)).astype(int)
    path = write(tmp_path / "a.dcm", values, bits=10, **{sequence: [lut_of(entries, 0, bits)]})
    expected = np.rint(entries[values] / (2**bits - 1) * 255)
    np.testing.assert_array_equal(read_grey(path), expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("entries", [4096, 4095])
def test_entries_of_8_bits_may_be_of_one_byte(tmp_path, sequence, syntax, entries):
    lut = lut_of(np.zeros(entries, int), 0, 8)
    table = (255 - np.arange(entries) // 16).astype(np.uint8)
    words = np.append(table, np.zeros(entries % 2, np.uint8)).view("<u2")
    lut.LUTData = words.astype("<u2" if syntax == ExplicitVRLittleEndian else ">u2").tobytes()
    grey = read_grey(write(tmp_path / "a.dcm", syntax=syntax, **{sequence: [lut]}))
    expected = table[np.minimum(RAMP, entries - 1)].astype(int)
    if sequence == "ModalityLUTSequence":  # the image's own range becomes 0..255
        expected = np.rint((expected - expected.min()) / (np.ptp(expected) / 255))
    np.testing.assert_array_equal(grey, expected)


def test_values_outside_of_a_lut_take_its_first_and_last_entry_and_never_wrap(tmp_path):
    lut = lut_of(np.arange(1024), -512, 10)
    lut["LUTDescriptor"].VR = "SS"
    values = np.array([[0, 1, 657, 1023]], np.uint16)  # 657 would wrap to 76
    tags = {"RescaleSlope": 100, "RescaleIntercept": -600, "VOILUTSequence": [lut]}
    path = write(tmp_path / "a.dcm", values, bits=10, **tags)
    np.testing.assert_array_equal(
        read_grey(path), np.rint(np.array([[0, 12, 1023, 1023]]) / 1023 * 255)
    )
    first = write(tmp_path / "b.dcm", VOILUTSequence=[lut_of(np.arange(1024), 2000, 10)])
    expected = np.rint(np.clip(RAMP.astype(int) - 2000, 0, 1023) / 1023 * 255)
    np.testing.assert_array_equal(read_grey(first), expected)


def test_a_lut_that_is_not_what_it_states_is_said_in_a_line(tmp_path):
    path = write(tmp_path / "a.dcm", VOILUTSequence=[lut_of(np.arange(9), 0, 17)])
    with pytest.raises(DicomError, match=r"^has a lookup table with entries of 17 bits, not 1 to"):
        read_dicom(path, 1000)
    short = lut_of(np.arange(900))
    short.LUTDescriptor = [1024, 0, 16]
    path = write(tmp_path / "b.dcm", ModalityLUTSequence=[short])
    with pytest.raises(DicomError, match=r"^has a lookup table of 900 entries, not 1024 as it st"):
        read_dicom(path, 1000)


def test_a_window_without_values_is_no_window(tmp_path):
    path = write(tmp_path / "a.dcm", RAMP // 2, WindowCenter=None, WindowWidth=None)
    np.testing.assert_array_equal(read_grey(path), np.rint((RAMP // 2) / 2047 * 255))


def test_a_modality_lut_takes_the_place_of_a_rescaling(tmp_path):
    tags = {"ModalityLUTSequence": [lut_of(np.arange(4096), 0, 12)]}
    tags |= {"RescaleSlope": 2, "RescaleIntercept": 0, "WindowCenter": 1000, "WindowWidth": 2000}
    grey = read_grey(write(tmp_path / "a.dcm", **tags))
    assert np.abs(grey - window(RAMP, 1000, 2000)).max() <= 1
