"""The reference study's figures, to stand beside ours.

Its models were trained on the whole COVID-19 Radiography Database (21,165 images, four classes,
224x224, stratified hold-out), from ImageNet weights.
"""

MEASURES = ("accuracy", "f1", "precision", "recall", "auc")

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
N_IMAGES = 21_165

# (backbone, depth) -> the study's figures, in the order of MEASURES.
METRICS: dict[tuple[str, int], tuple[float, ...]] = {
    ("shufflenetv2_x1_0", 0): (0.8995, 0.9063, 0.9143, 0.8988, 0.9810),
    ("shufflenetv2_x1_0", 1): (0.9036, 0.9104, 0.9134, 0.9131, 0.9829),
    ("shufflenetv2_x1_0", 2): (0.9323, 0.9390, 0.9335, 0.9448, 0.9899),
    ("efficientnetb0", 0): (0.8885, 0.8994, 0.9073, 0.8920, 0.9769),
    ("efficientnetb0", 1): (0.9068, 0.9159, 0.9095, 0.9231, 0.9848),
    ("efficientnetb0", 2): (0.9313, 0.9376, 0.9459, 0.9304, 0.9878),
}

# (backbone, depth) -> the study's parameters: total, trainable, non-trainable.
PARAMETERS: dict[tuple[str, int], tuple[int, int, int]] = {
    ("efficientnetb0", 0): (5_846_144, 1_838_596, 4_007_548),
    ("efficientnetb0", 1): (5_846_144, 2_250_756, 3_595_388),
    ("efficientnetb0", 2): (5_846_144, 2_967_988, 2_878_156),
    ("shufflenetv2_x1_0", 0): (2_830_056, 1_576_452, 1_253_604),
    ("shufflenetv2_x1_0", 1): (2_830_056, 2_053_636, 776_420),
    ("shufflenetv2_x1_0", 2): (2_830_056, 2_554_988, 275_068),
}
