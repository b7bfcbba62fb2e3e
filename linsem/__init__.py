"""Linear semantics in GANs: label a few generated images, segment, edit and sample everything the GAN can draw."""

from linsem import threads  # noqa: F401 - before anything that imports torch

# isort: split
from linsem import metrics
from linsem.bank import Bank, make_bank
from linsem.conditional import LayoutError, SampleResult, SampleStep, iter_sample, sample
from linsem.edit import EditError, EditResult, edit, iter_edit
from linsem.errors import InputError
from linsem.examples import AnnotationError
from linsem.export import iter_export
from linsem.extractor import Extractor, ExtractorError, load_extractor, save_extractor
from linsem.fewshot import Annotation, FitStep, fit_few_shot, iter_few_shot
from linsem.generator import Generator, Layer, seed_z
from linsem.jump import Atlas, make_atlas
from linsem.offers import ModelError
from linsem.palette import Category, overlay, parse_categories, read_label_map, write_label_map
from linsem.pixels import IGNORE, to_image, to_rgb
from linsem.presence import add, iter_add, iter_remove, remove
from linsem.project import Project, ProjectImage, load_project, save_project
from linsem.publish import push_extractor
from linsem.spread import spread
from linsem.suggest import suggest_next
from linsem.supervised import fit_supervised, iter_supervised
from linsem.teacher import load_teacher
from linsem.training import Recipe
from linsem.zoo import load_generator

__all__ = [
    "IGNORE",
    "Annotation",
    "AnnotationError",
    "Atlas",
    "Bank",
    "Category",
    "EditError",
    "EditResult",
    "Extractor",
    "ExtractorError",
    "FitStep",
    "Generator",
    "InputError",
    "Layer",
    "LayoutError",
    "ModelError",
    "Project",
    "ProjectImage",
    "Recipe",
    "SampleResult",
    "SampleStep",
    "add",
    "edit",
    "fit_few_shot",
    "fit_supervised",
    "iter_add",
    "iter_edit",
    "iter_export",
    "iter_few_shot",
    "iter_remove",
    "iter_sample",
    "iter_supervised",
    "load_extractor",
    "load_generator",
    "load_project",
    "load_teacher",
    "make_atlas",
    "make_bank",
    "metrics",
    "overlay",
    "parse_categories",
    "push_extractor",
    "read_label_map",
    "remove",
    "sample",
    "save_extractor",
    "save_project",
    "seed_z",
    "spread",
    "suggest_next",
    "to_image",
    "to_rgb",
    "write_label_map",
]
