"""Linear semantics in GANs: label a few generated images, segment, edit and sample everything the GAN can draw."""

from linsem.conditional import iter_sample, sample
from linsem.edit import edit, iter_edit
from linsem.extractor import Extractor, load_extractor, save_extractor
from linsem.fewshot import Annotation, fit_few_shot, iter_few_shot
from linsem.generator import Generator, Layer, seed_z
from linsem.palette import Category
from linsem.pixels import IGNORE, to_rgb
from linsem.publish import push_extractor
from linsem.spread import spread
from linsem.suggest import suggest_next
from linsem.supervised import fit_supervised
from linsem.teacher import load_teacher
from linsem.zoo import load_generator

__all__ = [
    "IGNORE",
    "Annotation",
    "Category",
    "Extractor",
    "Generator",
    "Layer",
    "edit",
    "fit_few_shot",
    "fit_supervised",
    "iter_edit",
    "iter_few_shot",
    "iter_sample",
    "load_extractor",
    "load_generator",
    "load_teacher",
    "push_extractor",
    "sample",
    "save_extractor",
    "seed_z",
    "spread",
    "suggest_next",
    "to_rgb",
]
